// convert.cpp - see convert.h.
#include "convert.h"

#include <algorithm>

namespace mma {

uint16_t f16_from_f32(uint32_t bits) {
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7fff;
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 2^16 and above
  if (magnitude < 0x33000000u) return static_cast<uint16_t>(sign);             // below 2^-25
  // value = significand * 2^(exponent - 23); the quantum of the result is 2^(max(exponent, -14) -
  // 10).
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  const uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
  const int result_exponent = std::max(exponent, -14);
  const int drop = 13 + result_exponent - exponent;
  uint32_t kept = significand >> drop;
  const uint32_t rest = significand & ((1u << drop) - 1), half = 1u << (drop - 1);
  if (rest > half || (rest == half && (kept & 1))) kept++;
  // A carry out of the fraction lands in the exponent field, which is right also for 65520 -> Inf.
  const uint32_t field = static_cast<uint32_t>(result_exponent + 14) << 10;
  return static_cast<uint16_t>(sign | (field + kept));
}

uint16_t bf16_from_f32(uint32_t bits) {
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

uint32_t f32_from_f16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t field = bits >> 10 & 31;
  uint32_t fraction = bits & 0x3ffu;
  if (field == 31) return fraction ? 0x7fffffffu : sign | 0x7f800000u;
  if (field != 0) return sign | (field + 112) << 23 | fraction << 13;
  if (fraction == 0) return sign;
  const int shift = __builtin_clz(fraction) - 21;  // makes bit 10 the leading one
  fraction <<= shift;
  return sign | static_cast<uint32_t>(113 - shift) << 23 | (fraction & 0x3ffu) << 13;
}

uint32_t f32_from_bf16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  return (wide & 0x7fffffffu) > 0x7f800000u ? 0x7fffffffu : wide;
}

}  // namespace mma
