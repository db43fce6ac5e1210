// architecture.cpp - the table of architecture.h. The README beside this file explains the
// evidence.
#include "architecture.h"

namespace mma {
namespace {

// Origins. "captured": 5,000 vectors a file recorded on the named device, repository
// north-numerical-computing/MATLAB-tensor-core (arXiv:2512.07004), 0 mismatches with this model.
// "measured": compared by this project on an H100 80GB HBM3, driver 580, CUDA 13.0, 2026-11-24,
// 943,718,400 outputs of 15 input classes, 0 mismatches.
constexpr const char* kA100 = "captured on A100 and A2; group of 8 also arXiv:2511.10909";
constexpr const char* kA100Half = "captured on A100 and A2; floor of E arXiv:2512.07004";
constexpr const char* kAda = "captured on L40S and RTX 1000 Ada";
constexpr const char* kH100 = "measured on H100; captured on H100 and H200";

constexpr Row kRows[] = {
    {80, Operand::f16, Accumulator::f32, 8, 24, -132, kA100},
    {80, Operand::bf16, Accumulator::f32, 8, 24, -132, kA100},
    {80, Operand::f16, Accumulator::f16, 8, 24, -20, kA100Half},
    {89, Operand::f16, Accumulator::f32, 8, 24, -132, kAda},
    {89, Operand::bf16, Accumulator::f32, 8, 24, -132, kAda},
    {89, Operand::f16, Accumulator::f16, 8, 24, -20, kAda},
    {90, Operand::f16, Accumulator::f32, 16, 25, -133, kH100},
    {90, Operand::bf16, Accumulator::f32, 16, 25, -133, kH100},
    {90, Operand::f16, Accumulator::f16, 16, 25, -21, kH100},
};

}  // namespace

const Row* find_row(uint32_t sm, Operand operand, Accumulator accumulator) {
  const uint32_t generation = sm == 86 || sm == 87 ? 80 : sm;
  for (const Row& row : kRows) {
    if (row.sm == generation && row.operand == operand && row.accumulator == accumulator) {
      return &row;
    }
  }
  return nullptr;
}

const Row* rows(int* count) {
  *count = static_cast<int>(sizeof kRows / sizeof kRows[0]);
  return kRows;
}

}  // namespace mma
