// architecture.h - how the tensor cores of an architecture add: one row for each kind of
// instruction.
//
// An instruction's k products are cut into groups of `group`, in increasing k. One group is one
// fused sum (fused_sum.h); each starts from the rounded result of the one before. The rows below
// cover mma.sync with f16 and bf16 operands and with f16 or f32 accumulators, the ones a kernel of
// this project can issue. tf32, fp8, int8 and wgmma have other rules and are not here.
#pragma once
#include <cstdint>

namespace mma {

enum class Operand { f16, bf16 };
enum class Accumulator { f32, f16 };

struct Row {
  uint32_t sm;
  Operand operand;
  Accumulator accumulator;
  int group;           // products in one fused sum
  int fraction;        // F: terms are cut to multiples of 2^(E - F)
  int exponent_floor;  // lower limit of E
  const char* origin;  // where the numbers come from
};

// The row of an instruction, or null if the architecture is not in the table. sm_86 and sm_87 are
// the same generation as sm_80 (arXiv:2510.15884 finds an RTX 3060 equal to an A100).
const Row* find_row(uint32_t sm, Operand operand, Accumulator accumulator);

// All rows, for tests and documentation.
const Row* rows(int* count);

}  // namespace mma
