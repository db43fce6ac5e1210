// number.h - the numbers of reference/format.ts and reference/exp.ts, operation by operation, so
// that equal operands give equal bits; reductions over tokens are all that may differ.
#pragma once
#include <math.h>

#include "loop.h"

namespace kvproof_reference {

constexpr double ln2 = 0.6931471805599453;    // Math.LN2
constexpr double log2e = 1.4426950408889634;  // Math.LOG2E
constexpr double u = 0x1p-24;
constexpr double u16 = 0x1p-11;
constexpr double f16_normal_min = 0x1p-14;

TWIN_FN double quiet_nan() { return double_of(0x7ff8000000000000ull); }
TWIN_FN double infinity() { return double_of(0x7ff0000000000000ull); }
TWIN_FN bool is_nan(double x) { return !(x == x); }
TWIN_FN bool is_finite(double x) { return x - x == 0; }
TWIN_FN double magnitude_of(double x) { return double_of(bits_of(x) & 0x7fffffffffffffffull); }

// Math.max and Math.min: a NaN stays.
TWIN_FN double max_of(double a, double b) {
  return is_nan(a) || is_nan(b) ? quiet_nan() : a > b ? a : b;
}
TWIN_FN double min_of(double a, double b) {
  return is_nan(a) || is_nan(b) ? quiet_nan() : a < b ? a : b;
}

// floor(log2 |x|) of a normal number; -1023 for zero and subnormals, 1024 for Inf and NaN.
TWIN_FN int exponent_of(double x) { return static_cast<int>((bits_of(x) >> 52) & 0x7ff) - 1023; }

// 2^exponent, -1074 to 1023.
TWIN_FN double power_of_two(int exponent) {
  if (exponent < -1022) return double_of(1ull << (exponent + 1074));
  return double_of(static_cast<uint64_t>(exponent + 1023) << 52);
}

TWIN_FN double f16_value(uint32_t bits) {
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  const int exponent = static_cast<int>(bits >> 10) & 31;
  const int fraction = static_cast<int>(bits) & 1023;
  if (exponent == 31) return fraction != 0 ? quiet_nan() : sign * infinity();
  if (exponent == 0) return sign * fraction * power_of_two(-24);
  return sign * (1024 + fraction) * power_of_two(exponent - 25);
}

TWIN_FN double bf16_value(uint32_t bits) {
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  const int exponent = static_cast<int>(bits >> 7) & 255;
  const int fraction = static_cast<int>(bits) & 127;
  if (exponent == 255) return fraction != 0 ? quiet_nan() : sign * infinity();
  if (exponent == 0) return sign * fraction * power_of_two(-133);
  return sign * (128 + fraction) * power_of_two(exponent - 134);
}

TWIN_FN double element_value(bool is_bf16, uint32_t bits) {
  return is_bf16 ? bf16_value(bits) : f16_value(bits);
}

// The word of a type nearest to x, ties to even; NaN becomes 0x7fff.
TWIN_FN uint16_t element_from(bool is_bf16, double x) {
  if (is_nan(x)) return 0x7fff;
  const double magnitude = magnitude_of(x);
  const uint32_t sign = static_cast<uint32_t>(bits_of(x) >> 63) << 15;
  const double limit = is_bf16 ? (2 - 0x1p-8) * 0x1p127 : 65520;
  if (magnitude >= limit) return static_cast<uint16_t>(sign | (is_bf16 ? 0x7f80u : 0x7c00u));
  const int fraction = is_bf16 ? 7 : 10, smallest = is_bf16 ? -126 : -14;
  const int own = exponent_of(magnitude), exponent = own > smallest ? own : smallest;
  // Adding 2^52 quanta leaves the rounded count of quanta in the low bits of the sum.
  const double sum = magnitude + power_of_two(exponent - fraction + 52);
  const uint32_t count = static_cast<uint32_t>(bits_of(sum)) & 0xfff;
  return static_cast<uint16_t>(sign |
                               ((static_cast<uint32_t>(exponent - smallest) << fraction) + count));
}

TWIN_FN double element_round(bool is_bf16, double x) {
  return element_value(is_bf16, element_from(is_bf16, x));
}

// One binary32 operation: a float64 one and this (reference/quantize.ts).
TWIN_FN double round32(double x) { return static_cast<double>(static_cast<float>(x)); }

// x rounded to 11 significant bits, ties to even, with no limit on the exponent.
TWIN_FN double significand11(double x) {
  if (x == 0 || !is_finite(x)) return x;
  const double grid = power_of_two(exponent_of(x) - 10 + 52);
  return x < 0 ? x + -grid + grid : x + grid - grid;
}

// (ln 2)^k / k!, rounded as reference/exp.ts rounds them.
struct Exp2Series {
  double c[14];
  constexpr Exp2Series() : c{1} {
    for (int k = 1; k <= 13; k++) c[k] = (c[k - 1] * ln2) / k;
  }
};

// 2^x, relative error at most 2^-50.
TWIN_FN double exp2_of(double x) {
  if (!(x < 1024)) return x >= 1024 ? infinity() : quiet_nan();
  if (x < -1075) return 0;
  const double rounded = floor(x + 0.5);
  const double n = rounded > -1074 ? rounded : -1074;
  const double f = x - n;
  constexpr Exp2Series s;
  double series = s.c[13];
  TWIN_UNROLL
  for (int k = 12; k >= 0; k--) series = series * f + s.c[k];
  if (n == 1024) return series * power_of_two(1023) * 2;
  return series * power_of_two(static_cast<int>(n));
}

TWIN_FN double log2_of(double x) {
  const double guess = log2(x);
  if (!is_finite(guess)) return guess;
  const double whole = floor(guess + 0.5);
  const double scaled = x * power_of_two(-static_cast<int>(whole));
  return guess + (scaled * exp2_of(-(guess - whole)) - 1) / ln2;
}

}  // namespace kvproof_reference
