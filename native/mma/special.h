// special.h - ex2.approx.ftz.f32, rcp.approx.ftz.f32 and lg2.approx.ftz.f32, with the bits of an
// H100.
//
// The unit evaluates a quadratic in a segment of the argument, on integers, so each function is a
// short table and exact arithmetic. That sm_80 and sm_89 have the same is assumed, not measured.
#pragma once
#include <cstdint>

namespace mma {

// x >= 0 splits into floor(x) and the fraction cut to 23 bits, F: 2^floor(x) * T[F]. x < 0: with
// |x| = I + f and F = f cut to 23 bits, the fraction enters as a one's complement:
// 2^(-I-1) * T[2^23 - 1 - F], and exactly 2^-I for F = 0. Subnormals give 1, x < -126 gives +0.
float ex2_approx_ftz(float x);

// The fraction decides the significand, the exponent is negated. Subnormal operands give Inf of
// their sign, results below 2^-126 give 0 of their sign, NaN gives 0x7fffffff.
float rcp_approx_ftz(float x);

// With x = 2^e (1 + f): e plus the quadratic in f as a fixed-point number, cut toward zero to f32;
// a negative one is negated by a one's complement. lg2 of 1 is 0. Zeros and subnormals give -Inf,
// negative numbers NaN.
float lg2_approx_ftz(float x);

// T[i] of ex2, in [1, 2), i < 2^23.
float ex2_fraction(uint32_t i);

}  // namespace mma
