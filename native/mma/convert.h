// convert.h - conversions between f32, f16 and bf16, as cvt.rn does them: on integers, exact.
//
// Rounding is to nearest even, subnormals are kept, overflow gives Inf, and a NaN gives the one
// canonical NaN (0x7fff, or 0x7fffffff). Compared exhaustively with an H100 (2026-11-24).
#pragma once
#include <cstdint>

namespace mma {

uint16_t f16_from_f32(uint32_t bits);
uint16_t bf16_from_f32(uint32_t bits);
uint32_t f32_from_f16(uint16_t bits);
uint32_t f32_from_bf16(uint16_t bits);

}  // namespace mma
