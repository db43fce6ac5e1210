// special_test.cpp - ex2, rcp and lg2: every fraction against what an H100 answered (as a hash of
// all 2^23 results), anchors, and the error that was measured.
#include "special.h"

#include <chrono>
#include <cmath>
#include <cstring>

#include "check.h"

namespace {

using check::claim;
using mma::ex2_approx_ftz;
using mma::lg2_approx_ftz;
using mma::rcp_approx_ftz;

constexpr uint32_t kFractions = 1u << 23;

uint32_t bits_of(float f) {
  uint32_t b;
  std::memcpy(&b, &f, sizeof b);
  return b;
}
float float_of(uint32_t b) {
  float f;
  std::memcpy(&f, &b, sizeof f);
  return f;
}

// FNV-1a over the bits of function(significand with the exponent field of `first`), all 2^23 of
// them.
uint64_t hash_of(float (*function)(float), uint32_t first) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (uint32_t i = 0; i < kFractions; i++) {
    hash = (hash ^ bits_of(function(float_of(first | i)))) * 0x100000001b3u;
  }
  return hash;
}

// Recorded on an H100 80GB HBM3, driver 580, CUDA 13.0, 2026-11-24. ex2 on [0, 1) in steps of
// 2^-23, rcp on [1, 2), lg2 on [1, 2) and on [1/2, 1).
void every_fraction() {
  uint64_t ex2 = 0xcbf29ce484222325u;
  for (uint32_t i = 0; i < kFractions; i++) {
    ex2 = (ex2 ^ bits_of(ex2_approx_ftz(static_cast<float>(i) * 0x1p-23f))) * 0x100000001b3u;
  }
  claim(ex2 == 0xbb093af6b6fa7edb, "ex2: all fractions have the bits of an H100");
  claim(hash_of(rcp_approx_ftz, 0x3f800000) == 0xfa72a6c698274964,
        "rcp: all fractions have the bits of an H100");
  claim(hash_of(lg2_approx_ftz, 0x3f800000) == 0x5ca43d6b0d176848,
        "lg2: all of [1, 2) have the bits of an H100");
  claim(hash_of(lg2_approx_ftz, 0x3f000000) == 0xf8884f097b12e53d,
        "lg2: all of [1/2, 1) have the bits of an H100");
}

// Distance of a result from the exact value in units of the last place of the exact value.
double ulps(float result, double exact) {
  int exponent;
  std::frexp(exact, &exponent);
  return std::fabs(result - exact) / std::ldexp(1.0, exponent - 24);
}

void ex2_anchors() {
  claim(ex2_approx_ftz(0.0f) == 1.0f && ex2_approx_ftz(-0.0f) == 1.0f, "ex2 of both zeros is 1");
  claim(ex2_approx_ftz(-1.0f) == 0.5f && ex2_approx_ftz(3.0f) == 8.0f, "ex2 of integers is exact");
  claim(ex2_approx_ftz(-126.0f) == 0x1p-126f, "ex2 of -126 is the smallest normal");
  claim(bits_of(ex2_approx_ftz(-126.25f)) == 0, "below -126 it is +0");
  claim(bits_of(ex2_approx_ftz(-INFINITY)) == 0, "ex2 of -Inf is +0");
  claim(std::isinf(ex2_approx_ftz(128.0f)) && !std::isinf(ex2_approx_ftz(127.99f)),
        "128 overflows, 127.99 does not");
  claim(bits_of(ex2_approx_ftz(NAN)) == 0x7fffffffu, "NaN is the canonical NaN");
  claim(ex2_approx_ftz(1e-40f) == 1.0f && ex2_approx_ftz(-1e-40f) == 1.0f, "subnormals give 1");
}

void ex2_bounds() {
  check::Random r(21);
  double below = 0, above = 0;
  for (int i = 0; i < 3000000; i++) {
    // Uniform in value and, every second time, in bit pattern, so that small arguments occur.
    float x = static_cast<float>(r.bits()) * 0x1p-32f * 126.0f;
    if (i & 1) x = float_of(0x00800000u + r.below(0x42fc0000u - 0x00800000u));
    below = std::fmax(below, ulps(ex2_approx_ftz(-x), std::exp2(-static_cast<double>(x))));
    above = std::fmax(above, ulps(ex2_approx_ftz(x), std::exp2(static_cast<double>(x))));
  }
  claim(below <= 2.055, "ex2 on [-126, 0] errs by at most 2.055 ulp", "%.4f", below);
  claim(below >= 1.5, "and by more than 1.5 somewhere: it is not the rounded value", "%.4f", below);
  claim(above <= 1.41, "ex2 on [0, 126] errs by at most 1.40 ulp (two digits)", "%.4f", above);
}

void rcp() {
  claim(rcp_approx_ftz(1.0f) == 1.0f && rcp_approx_ftz(-4.0f) == -0.25f,
        "rcp of powers of two is exact");
  claim(
      bits_of(rcp_approx_ftz(0.0f)) == 0x7f800000u && bits_of(rcp_approx_ftz(-0.0f)) == 0xff800000u,
      "rcp of a zero is Inf of its sign");
  claim(bits_of(rcp_approx_ftz(1e-40f)) == 0x7f800000u, "a subnormal counts as zero");
  claim(bits_of(rcp_approx_ftz(-INFINITY)) == 0x80000000u, "rcp of -Inf is -0");
  claim(bits_of(rcp_approx_ftz(NAN)) == 0x7fffffffu, "NaN is the canonical NaN");
  claim(bits_of(rcp_approx_ftz(0x1.8p127f)) == 0, "a result below 2^-126 is flushed");
  double worst = 0;
  int scaled_wrong = 0;
  for (uint32_t i = 0; i < kFractions; i++) {
    const float x = float_of(0x3f800000u | i);
    const float y = rcp_approx_ftz(x);
    worst = std::fmax(worst, ulps(y, 1.0 / static_cast<double>(x)));
    scaled_wrong += rcp_approx_ftz(x * 0x1p40f) != y * 0x1p-40f;
  }
  claim(worst <= 0.9755 && worst > 0.6, "rcp on [1, 2) errs by at most 0.975 ulp", "%.4f", worst);
  claim(scaled_wrong == 0, "scaling by a power of two scales the result", "%d", scaled_wrong);
}

void lg2() {
  // As the H100 answered.
  claim(bits_of(lg2_approx_ftz(1.0f)) == 0 && lg2_approx_ftz(2.0f) == 1.0f &&
            bits_of(lg2_approx_ftz(0.5f)) == 0xbf7ffffeu,
        "lg2 of 1 and 2 is exact, of 1/2 it is not");
  claim(bits_of(lg2_approx_ftz(0x1p-126f)) == 0xc2fbffffu &&
            bits_of(lg2_approx_ftz(3.4e38f)) == 0x42ffff63u,
        "lg2 of the smallest normal, and of 3.4e38");
  claim(bits_of(lg2_approx_ftz(0.0f)) == 0xff800000u &&
            bits_of(lg2_approx_ftz(-0.0f)) == 0xff800000u &&
            bits_of(lg2_approx_ftz(-1e-40f)) == 0xff800000u,
        "lg2 of zeros and subnormals is -Inf");
  claim(bits_of(lg2_approx_ftz(-1.0f)) == 0x7fffffffu &&
            bits_of(lg2_approx_ftz(-INFINITY)) == 0x7fffffffu &&
            bits_of(lg2_approx_ftz(NAN)) == 0x7fffffffu && std::isinf(lg2_approx_ftz(INFINITY)),
        "lg2 of a negative number is NaN, of Inf Inf");
  double near = 0, far = 0;
  for (uint32_t i = 0; i < kFractions; i += 3) {
    const float x = float_of(0x3f800000u | i);
    const double exact = std::log2(static_cast<double>(x));
    near = std::fmax(near, std::fabs(lg2_approx_ftz(x) - exact));
    far = std::fmax(far, std::fabs(lg2_approx_ftz(x * 0x1p-9f) - (exact - 9)) / (9 - exact));
  }
  claim(near <= 0x1p-22 * 0.903 && near > 0x1p-24, "lg2 near 1 errs by at most 2^-22.148", "%.3g",
        near);
  claim(far <= 0x1p-22, "elsewhere by at most 2^-22 of the result", "%.3g", far);
}

void times() {
  float x = 1.0f, sum = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000000; i++) {
    sum += ex2_approx_ftz(-x);
    x = x * 1.0000713f + 0.0001f;
    if (x > 30) x = 1.0f;
  }
  const std::chrono::duration<double> s = std::chrono::steady_clock::now() - start;
  std::printf("     ex2: %.1f ns (sum %g)\n", s.count() * 1e3, static_cast<double>(sum));
}

}  // namespace

int main() {
  every_fraction();
  ex2_anchors();
  ex2_bounds();
  rcp();
  lg2();
  times();
  return check::finish();
}
