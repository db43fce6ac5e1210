// fused_sum.h - the exact tensor-core model: one fused sum, and the dot product made of them.
//
// A fused sum takes an accumulator c and n products a_k * b_k and returns the next accumulator:
//   1. Operands are decoded exactly; a subnormal keeps its exponent emin and has no implicit bit.
//   2. NaN, Inf * 0 or Inf of both signs give the canonical NaN; otherwise an Inf keeps its sign.
//   3. A product has the exponent e(a) + e(b), NOT normalised: its significand lies in [1, 4).
//   4. E = the largest exponent of all nonzero products and of a nonzero c, at least
//      exponent_floor.
//   5. Every term is cut toward zero to a multiple of 2^(E - F), then all are added exactly.
//   6. The sum is rounded once: toward zero to f32 (overflow gives Inf), to nearest even to f16.
//      A sum that rounds to zero is +0.
// This file is the slow, plain form that everything else is compared with. tile.h has the fast
// one. Sources: MMA-Sim (arXiv:2511.10909), Khattak & Mikaitis (arXiv:2512.07004), and section 4 of
// the README for what an H100 said about the points where those two differ.
#pragma once
#include <cstdint>

#include "architecture.h"

namespace mma {

// a, b: (n) operand bits; c: f32 bits, or f16 bits in the low half for an f16 accumulator.
uint32_t fused_sum(const Row& row, const uint16_t* a, const uint16_t* b, int n, uint32_t c);

// The whole dot product of an instruction: groups of row.group products chained in increasing k.
uint32_t dot(const Row& row, const uint16_t* a, const uint16_t* b, int k, uint32_t c);

}  // namespace mma
