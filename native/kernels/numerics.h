// numerics.h - scalar arithmetic that the kernels share and that must give the same bits on a GPU
// and in the emulator: powers of two made from their exponents, a base-2 logarithm, and reductions
// over lanes.
//
// log2_of is explicit because lg2.approx has no documented bits. With x = 2^e f, f in [sqrt(1/2),
// sqrt(2)) and s = (f - 1) / (f + 1), |s| <= 0.1716:
//   log2 x = e + (2 / ln 2) (s + s^3/3 + s^5/5 + s^7/7 + s^9/9),
// whose first omitted term is below 2^-28 of the sum. The result is within 2^-22 max(1, |log2 x|)
// of log2 x, the error that reference/arithmetic.ts allows (swept in kernels_test.cpp: at most half
// of it), and log2_of(1) = 0.
#pragma once
#include "../simt/device.h"

namespace kvproof {

// log2 e, ln 2 and 2 / ln 2, each rounded to f32.
constexpr float log2_e = 0x1.715476p+0f;
constexpr float ln_2 = 0x1.62e430p-1f;
constexpr float two_over_ln_2 = 0x1.715476p+1f;

constexpr int clamp_int(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

// 2^e for e in -126..127.
DEV_FN float power_of_two(int e) {
  return dev::f32_from_bits(static_cast<uint32_t>(e + 127) << 23);
}

// a + b, or where that is no float the neighbour with an odd last bit: rounded again to 22 bits or
// fewer it gives what a + b rounded once would (Boldo and Melquiond, IEEE TC 57, 2008). `lost` is
// exact (Knuth, TAOCP 2, 4.2.2), NaN where the sum is not finite.
DEV_FN float add_to_odd(float a, float b) {
  const float sum = dev::add_rn(a, b), of_b = dev::sub_rn(sum, a);
  const float lost = dev::add_rn(dev::sub_rn(a, dev::sub_rn(sum, of_b)), dev::sub_rn(b, of_b));
  if (!(lost < 0 || lost > 0) || dev::bits_from_f32(sum) % 2 == 1) return sum;
  return dev::f32_from_bits(dev::bits_from_f32(sum) + ((lost > 0) == (sum > 0) ? 1 : -1));
}

// floor(log2 |x|) of a normal number; -127 for zero and subnormals, 128 for Inf and NaN.
DEV_FN int exponent_of(float x) {
  return static_cast<int>(dev::bits_from_f32(x) >> 23 & 255) - 127;
}

// log2 x for a normal x > 0; NaN for everything else, a sum of weights that is NaN (a score was) or
// 0 (every score was -Inf) among it. Every step rounds to nearest.
DEV_FN float log2_of(float x) {
  if (!(x >= 0x1p-126f && x <= 0x1.fffffep127f)) return dev::f32_from_bits(0x7fffffffu);
  const uint32_t bits = dev::bits_from_f32(x);
  // Subtracting the bits of sqrt(1/2) moves the cut between exponents from 1 to sqrt(2).
  const int e = static_cast<int>(bits - 0x3f3504f3u) >> 23;
  const float f = dev::f32_from_bits(bits - (static_cast<uint32_t>(e) << 23));
  const float s = dev::div_rn(dev::sub_rn(f, 1.0f), dev::add_rn(f, 1.0f));
  const float s2 = dev::mul_rn(s, s);
  float series = dev::fma_rn(s2, 1.0f / 9, 1.0f / 7);
  series = dev::fma_rn(s2, series, 1.0f / 5);
  series = dev::fma_rn(s2, series, 1.0f / 3);
  const float tail =
      dev::mul_rn(dev::mul_rn(s2, series), s);  // log's series without its first term
  const float log_f = dev::mul_rn(two_over_ln_2, dev::add_rn(s, tail));
  return dev::add_rn(static_cast<float>(e), log_f);
}

// Two numbers of a word, fp16 or bf16.
DEV_FN float2 unpack_pair(uint32_t pair, bool is_bf16) {
  return is_bf16 ? dev::bf2unpack(pair) : dev::h2unpack(pair);
}

// Reductions over the eight lanes of a warp that hold one column of a fragment: the lanes g * 4 + c
// with equal c. The result is the same in all eight.
DEV_FN float max_over_rows(float x) {
  DEV_UNROLL
  for (int offset = 4; offset < 32; offset *= 2) x = dev::max_num(x, dev::shfl_xor(x, offset));
  return x;
}

DEV_FN float sum_over_rows(float x) {
  DEV_UNROLL
  for (int offset = 4; offset < 32; offset *= 2) x = dev::add_rn(x, dev::shfl_xor(x, offset));
  return x;
}

}  // namespace kvproof
