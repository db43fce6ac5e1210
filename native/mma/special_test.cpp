// special_test.cpp - ex2 and rcp: anchors, error bounds measured on the H100, and the tables as a
// whole.
#include "special.h"

#include <chrono>
#include <cmath>
#include <cstring>

#include "check.h"

namespace {

using check::claim;
using mma::ex2_approx_ftz;
using mma::rcp_approx_ftz;

constexpr uint32_t kEntries = 1u << 23;

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

void ex2_table_whole() {
  int wrong = 0;
  long histogram[4] = {};
  for (uint32_t i = 0; i < kEntries; i++) {
    const auto exact = static_cast<float>(std::exp2(static_cast<long double>(i) * 0x1p-23L));
    wrong += mma::exp2_fraction(i) != exact;
    histogram[mma::ex2_delta(i) + 2]++;
  }
  claim(wrong == 0, "2^(i/2^23) is correctly rounded for all 2^23 entries", "%d wrong", wrong);
  claim(mma::ex2_delta(0) == 0, "entry 0 is exact");
  claim(histogram[1] > 0 && histogram[2] > 0 && histogram[3] > 0 && histogram[2] > histogram[0],
        "the deltas are not a constant", "%ld %ld %ld %ld", histogram[0], histogram[1],
        histogram[2], histogram[3]);
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
  for (uint32_t i = 0; i < kEntries; i++) {
    const float x = float_of(0x3f800000u | i);
    const float y = rcp_approx_ftz(x);
    worst = std::fmax(worst, ulps(y, 1.0 / static_cast<double>(x)));
    scaled_wrong += rcp_approx_ftz(x * 0x1p40f) != y * 0x1p-40f;
  }
  claim(worst <= 0.9755, "rcp on [1, 2) errs by at most 0.975 ulp", "%.4f", worst);
  claim(worst > 0.6, "and by more than a rounding somewhere", "%.4f", worst);
  claim(scaled_wrong == 0, "scaling by a power of two scales the result", "%d", scaled_wrong);
}

void time_ex2() {
  float x = -1.0f, sum = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000000; i++) {
    sum += ex2_approx_ftz(x);
    x = x * 1.0000713f - 0.0001f;
    if (x < -30) x = -1.0f;
  }
  const std::chrono::duration<double> s = std::chrono::steady_clock::now() - start;
  std::printf("     ex2: %.1f ns (sum %g)\n", s.count() * 1e3, static_cast<double>(sum));
}

}  // namespace

int main() {
  ex2_anchors();
  ex2_bounds();
  ex2_table_whole();
  rcp();
  time_ex2();
  return check::finish();
}
