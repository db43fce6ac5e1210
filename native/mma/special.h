// special.h - ex2.approx.ftz.f32 and rcp.approx.ftz.f32, with the bits of an H100.
//
// The hardware evaluates both on a 23-bit fraction, so each is one table of 2^23 entries and exact
// scaling. The tables are stored as what the hardware returns minus the correctly rounded value, in
// units of the last place, plus 2: two bits an entry, 2 MiB each, entry i in bits 2 (i mod 4) of
// byte i / 4. They were measured on an H100 80GB HBM3 (driver 580, CUDA 13.0, 2026-11-24): ex2
// over 2.2e9 inputs with 0 mismatches, largest error 2.055 ulp on [-126, 0]; rcp at most 0.975 ulp
// on [1, 2). That sm_80 and sm_89 have the same tables is assumed, not measured.
#pragma once
#include <cstdint>

namespace mma {

// ex2: x >= 0 splits into floor(x) and the fraction cut to 23 bits, F: 2^floor(x) * T[F].
// x < 0: with |x| = I + f and F = f cut to 23 bits, the fraction enters as a one's complement:
// 2^(-I-1) * T[2^23 - 1 - F], and exactly 2^-I for F = 0. Subnormals give 1, x < -126 gives +0.
float ex2_approx_ftz(float x);

// rcp: the fraction picks the table entry, the exponent is negated. Subnormal operands give Inf of
// their sign, results below 2^-126 give 0 of their sign, NaN gives 0x7fffffff.
float rcp_approx_ftz(float x);

// Entries of the tables, for tests: hardware minus correctly rounded, in ulp. i < 2^23.
int ex2_delta(uint32_t i);
int rcp_delta(uint32_t i);

// 2^(i / 2^23) correctly rounded to f32, i < 2^23.
float exp2_fraction(uint32_t i);

}  // namespace mma
