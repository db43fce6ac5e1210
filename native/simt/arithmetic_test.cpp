// arithmetic_test.cpp - the scalar functions of device.h on a CPU: against native/mma, which works
// on integers, and against what PTX defines for NaN, zeros and overflow.
#include <cmath>

#include "../mma/convert.h"
#include "../mma/special.h"
#include "test_device.h"

namespace {

using check::claim;
using check::Random;

constexpr uint32_t kNan = 0x7fffffffu;

uint32_t bits(float f) { return dev::bits_from_f32(f); }
float f32(uint32_t b) { return dev::f32_from_bits(b); }

void conversions() {
  bool half = true, bf16 = true;
  for (uint32_t i = 0; i < 65536; i++) {
    const auto h = static_cast<uint16_t>(i);
    half = half && bits(dev::f32_from_f16(h)) == mma::f32_from_f16(h);
    half = half && bits(dev::h2unpack(i << 16 | 0x3c00).y) == mma::f32_from_f16(h);
    bf16 = bf16 && bits(dev::f32_from_bf16(h)) == mma::f32_from_bf16(h);
    bf16 = bf16 && bits(dev::bf2unpack(i << 16).y) == mma::f32_from_bf16(h);
  }
  claim(half, "f16 to f32, all of them");
  claim(bf16, "bf16 to f32, all of them");
  Random r(5);
  bool to_half = true, to_bf16 = true;
  for (int i = 0; i < 2000000; i++) {
    // Every second one near the halves: exponents of f16 and ties.
    uint32_t a = r.bits();
    if (i & 1) a = (a & 0x80ffe000u) | (100 + r.below(50)) << 23 | (r.below(3) ? 0x1000 : 0);
    const uint32_t b = r.bits();
    to_half = to_half && dev::f16_from_f32(f32(a)) == mma::f16_from_f32(a);
    to_half =
        to_half && dev::h2pack(f32(a), f32(b)) ==
                       (mma::f16_from_f32(a) | static_cast<uint32_t>(mma::f16_from_f32(b)) << 16);
    to_bf16 = to_bf16 && dev::bf16_from_f32(f32(a)) == mma::bf16_from_f32(a);
    to_bf16 =
        to_bf16 && dev::bf2pack(f32(b), f32(a)) ==
                       (mma::bf16_from_f32(b) | static_cast<uint32_t>(mma::bf16_from_f32(a)) << 16);
  }
  claim(to_half, "f32 to f16");
  claim(to_bf16, "f32 to bf16");
}

// max.f32 by its definition in PTX, on bits.
uint32_t max_by_definition(uint32_t a, uint32_t b) {
  const bool a_nan = (a & 0x7fffffff) > 0x7f800000, b_nan = (b & 0x7fffffff) > 0x7f800000;
  if (a_nan && b_nan) return kNan;
  if (a_nan || b_nan) return a_nan ? b : a;
  const auto key = [](uint32_t x) { return x >> 31 ? ~x : x | 0x80000000u; };  // -0 below +0
  return key(a) > key(b) ? a : b;
}
uint32_t min_by_definition(uint32_t a, uint32_t b) {
  const bool any_nan = (a & 0x7fffffff) > 0x7f800000 || (b & 0x7fffffff) > 0x7f800000;
  if (any_nan) return max_by_definition(a, b);
  return max_by_definition(a, b) == a ? b : a;
}

void extremes() {
  const uint32_t special[] = {0,          0x80000000, 1,          0x80000001, 0x3f800000,
                              0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001};
  Random r(6);
  bool max = true, min = true, half = true;
  for (int i = 0; i < 200000; i++) {
    const uint32_t a = i < 100 ? special[i / 10] : r.bits(),
                   b = i < 100 ? special[i % 10] : r.bits();
    max = max && bits(dev::max_num(f32(a), f32(b))) == max_by_definition(a, b);
    min = min && bits(dev::min_num(f32(a), f32(b))) == min_by_definition(a, b);
    const auto x = static_cast<uint16_t>(a >> (i < 100 ? 16 : 0)),
               y = static_cast<uint16_t>(b >> 8);
    const uint32_t want =
        mma::f16_from_f32(max_by_definition(mma::f32_from_f16(x), mma::f32_from_f16(y)));
    half = half && dev::h2max(x * 0x10001u, y * 0x10001u) == want * 0x10001u;
  }
  claim(max, "max: a NaN loses, -0 is below +0");
  claim(min, "min: a NaN loses, -0 is below +0");
  claim(half, "the maximum of halves likewise");
}

void nan_and_rounding() {
  const float nan = f32(0xff812345u), inf = INFINITY;
  claim(bits(dev::add_rn(nan, 1)) == kNan && bits(dev::sub_rn(inf, inf)) == kNan &&
            bits(dev::mul_rn(0, inf)) == kNan && bits(dev::div_rn(0, 0)) == kNan &&
            bits(dev::fma_rn(nan, 1, 1)) == kNan && bits(dev::floor_f32(nan)) == kNan,
        "every f32 operation has one NaN");
  claim(dev::h2mul(0x7e01fc00u, 0x3c000000u) == 0x7fff7fffu, "and the f16 one has one");
  const float a = 1 + 0x1p-12f, b = -(1 + 0x1p-11f);
  claim(dev::fma_rn(a, a, b) == 0x1p-24f && dev::add_rn(dev::mul_rn(a, a), b) == 0,
        "fma rounds once, a product and a sum twice");
  claim(dev::i32_from_f32(2.9e9f) == INT32_MAX && dev::i32_from_f32(-inf) == INT32_MIN &&
            dev::i32_from_f32(nan) == 0 && dev::i32_from_f32(-1.9f) == -1,
        "conversion to integers saturates toward zero");
  claim(
      dev::rint_even(2.5f) == 2 && dev::rint_even(3.5f) == 4 && dev::trunc_toward_zero(-1.5f) == -1,
      "rounding to whole numbers");
  bool products = true;
  Random r(7);
  for (int i = 0; i < 300000; i++) {
    const uint32_t a = r.bits() & 0xffff, b = r.bits() & 0xffff;
    const double exact = static_cast<double>(f32(mma::f32_from_f16(static_cast<uint16_t>(a)))) *
                         static_cast<double>(f32(mma::f32_from_f16(static_cast<uint16_t>(b))));
    const uint32_t want = mma::f16_from_f32(bits(static_cast<float>(exact)));
    products = products && (dev::h2mul(a, b) & 0xffff) == want;
  }
  claim(products, "the product of halves is rounded once");
}

DEV_KERNEL(32) special_kernel(float* out, const float* in) {
  const uint32_t i = dev::thread_x();
  out[2 * i] = dev::ex2(in[i]);
  out[2 * i + 1] = dev::rcp(in[i]);
}

void special_functions() {
  test::start();
  Random r(8);
  bool right = true;
  for (int round = 0; round < 50; round++) {
    std::vector<float> in(32);
    for (float& x : in) x = f32(r.bits());
    float* out = test::allocate<float>(64, "out");
    dev::Launch launch;
    launch.threads = 32;
    dev::launch(special_kernel, launch, out, test::upload(in, "in"));
    const auto got = test::download(out, 64);
    for (size_t i = 0; i < 32; i++) {
      right = right && bits(got[2 * i]) == bits(mma::ex2_approx_ftz(in[i]));
      right = right && bits(got[2 * i + 1]) == bits(mma::rcp_approx_ftz(in[i]));
    }
  }
  claim(right, "ex2 and rcp are those of native/mma");
}

}  // namespace

int main() {
  conversions();
  extremes();
  nan_and_rounding();
  special_functions();
  return check::finish();
}
