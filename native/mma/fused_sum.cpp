// fused_sum.cpp - see fused_sum.h. All arithmetic is on integers.
//
// Widths: a product of two significands has at most 22 bits and is shifted left by at most F - 20
// (f16) or F - 14 (bf16) bits, so that a term is below 2^(F + 2) and 17 terms fit in 64 bits with
// ease.
#include "fused_sum.h"

#include <algorithm>

namespace mma {
namespace {

enum class Kind { zero, finite, infinite, nan };

// value = significand * 2^(exponent - fraction bits of the format), negated if negative.
struct Decoded {
  int64_t significand;
  int exponent;
  bool negative;
  Kind kind;
};

Decoded decode(uint32_t bits, int exponent_bits, int fraction_bits) {
  const uint32_t exponent_mask = (1u << exponent_bits) - 1;
  const uint32_t fraction = bits & ((1u << fraction_bits) - 1);
  const uint32_t exponent = (bits >> fraction_bits) & exponent_mask;
  const int bias = static_cast<int>(exponent_mask >> 1);
  Decoded d{fraction, 1 - bias, (bits >> (exponent_bits + fraction_bits) & 1) != 0, Kind::finite};
  if (exponent == exponent_mask) {
    d.kind = fraction ? Kind::nan : Kind::infinite;
  } else if (exponent == 0) {
    d.kind = fraction ? Kind::finite : Kind::zero;
  } else {
    d.significand |= int64_t{1} << fraction_bits;
    d.exponent = static_cast<int>(exponent) - bias;
  }
  return d;
}

// magnitude * 2^shift cut toward zero.
int64_t shift_toward_zero(int64_t magnitude, int shift) {
  if (shift >= 0) return magnitude << shift;
  return shift <= -63 ? 0 : magnitude >> -shift;
}

int highest_bit(uint64_t v) { return 63 - __builtin_clzll(v); }

// sum * 2^quantum as f32, toward zero; overflow gives Inf.
uint32_t round_f32_toward_zero(int64_t sum, int quantum) {
  if (sum == 0) return 0;
  const uint32_t sign = sum < 0 ? 0x80000000u : 0;
  const uint64_t magnitude = static_cast<uint64_t>(sum < 0 ? -sum : sum);
  const int leading = highest_bit(magnitude) + quantum;
  if (leading > 127) return sign | 0x7f800000u;
  const int exponent = std::max(leading, -126);
  const auto significand = static_cast<uint32_t>(
      shift_toward_zero(static_cast<int64_t>(magnitude), quantum - (exponent - 23)));
  if (significand == 0) return 0;
  if (significand & 0x800000u) {
    return sign | static_cast<uint32_t>(exponent + 127) << 23 | (significand & 0x7fffffu);
  }
  return sign | significand;
}

// sum * 2^quantum as f16, to nearest even; overflow gives Inf.
uint32_t round_f16_nearest(int64_t sum, int quantum) {
  if (sum == 0) return 0;
  const uint32_t sign = sum < 0 ? 0x8000u : 0;
  const uint64_t magnitude = static_cast<uint64_t>(sum < 0 ? -sum : sum);
  int exponent = std::max(highest_bit(magnitude) + quantum, -14);
  if (exponent > 15) return sign | 0x7c00u;
  const int shift = quantum - (exponent - 10);
  uint64_t significand = static_cast<uint64_t>(
      shift_toward_zero(static_cast<int64_t>(magnitude), std::max(shift, -63)));
  if (shift < 0 && shift > -63) {
    const uint64_t rest = magnitude & ((uint64_t{1} << -shift) - 1);
    const uint64_t half = uint64_t{1} << (-shift - 1);
    if (rest > half || (rest == half && (significand & 1))) significand++;
  }
  if (significand == 0) return 0;
  if (significand >= 2048) {
    significand >>= 1;
    if (++exponent > 15) return sign | 0x7c00u;
  }
  if (significand & 0x400u) {
    return sign | static_cast<uint32_t>(exponent + 15) << 10 |
           (static_cast<uint32_t>(significand) & 0x3ffu);
  }
  return sign | static_cast<uint32_t>(significand);
}

struct Specials {
  bool nan = false, positive = false, negative = false;
  void infinite(bool is_negative) { (is_negative ? negative : positive) = true; }
  bool any() const { return nan || positive || negative; }
  uint32_t result(bool half) const {
    if (nan || (positive && negative)) return half ? 0x7fffu : 0x7fffffffu;
    if (positive) return half ? 0x7c00u : 0x7f800000u;
    return half ? 0xfc00u : 0xff800000u;
  }
};

// Whether one of n operands is a NaN: then no other matters, and most slow tiles hold one.
bool any_nan(const Row& row, const uint16_t* x, int n) {
  const int infinity = row.operand == Operand::f16 ? 0x7c00 : 0x7f80;
  int found = 0;
  for (int k = 0; k < n; k++) found |= infinity - (x[k] & 0x7fff);  // negative for a NaN
  return found < 0;
}

struct Operands {
  Decoded a[16], b[16];
};

// Decodes what holds no NaN, and collects specials and the largest exponent (unchanged if every
// product is zero).
void scan(const Row& row, const uint16_t* a, const uint16_t* b, int n, Operands& ops, Specials& s,
          int& exponent) {
  const int exponent_bits = row.operand == Operand::f16 ? 5 : 8;
  for (int k = 0; k < n; k++) {
    const Decoded x = ops.a[k] = decode(a[k], exponent_bits, 15 - exponent_bits);
    const Decoded y = ops.b[k] = decode(b[k], exponent_bits, 15 - exponent_bits);
    if (x.kind == Kind::infinite || y.kind == Kind::infinite) {
      if (x.kind == Kind::zero || y.kind == Kind::zero) {
        s.nan = true;
      } else {
        s.infinite(x.negative != y.negative);
      }
    } else if (x.kind == Kind::finite && y.kind == Kind::finite) {
      exponent = std::max(exponent, x.exponent + y.exponent);
    }
  }
}

constexpr int kNoExponent = INT32_MIN;

}  // namespace

uint32_t fused_sum(const Row& row, const uint16_t* a, const uint16_t* b, int n, uint32_t c) {
  const bool half = row.accumulator == Accumulator::f16;
  const int c_fraction_bits = half ? 10 : 23;
  const Decoded start = half ? decode(c, 5, 10) : decode(c, 8, 23);
  Operands ops;
  Specials specials;
  specials.nan = start.kind == Kind::nan || any_nan(row, a, n) || any_nan(row, b, n);
  if (specials.nan) return specials.result(half);
  int exponent = start.kind == Kind::finite ? start.exponent : kNoExponent;
  if (start.kind == Kind::infinite) specials.infinite(start.negative);
  scan(row, a, b, n, ops, specials, exponent);
  if (specials.any()) return specials.result(half);
  if (exponent == kNoExponent) return 0;
  exponent = std::max(exponent, row.exponent_floor);

  const int product_fraction_bits = row.operand == Operand::f16 ? 20 : 14;
  int64_t sum = 0;
  if (start.kind == Kind::finite) {
    const int64_t term = shift_toward_zero(
        start.significand, row.fraction - c_fraction_bits - (exponent - start.exponent));
    sum += start.negative ? -term : term;
  }
  for (int k = 0; k < n; k++) {
    const Decoded &x = ops.a[k], &y = ops.b[k];
    if (x.kind != Kind::finite || y.kind != Kind::finite) continue;
    const int64_t term = shift_toward_zero(
        x.significand * y.significand,
        row.fraction - product_fraction_bits - (exponent - (x.exponent + y.exponent)));
    sum += x.negative != y.negative ? -term : term;
  }
  const int quantum = exponent - row.fraction;
  return half ? round_f16_nearest(sum, quantum) : round_f32_toward_zero(sum, quantum);
}

uint32_t dot(const Row& row, const uint16_t* a, const uint16_t* b, int k, uint32_t c) {
  for (int start = 0; start < k; start += row.group) {
    c = fused_sum(row, a + start, b + start, std::min(row.group, k - start), c);
  }
  return c;
}

}  // namespace mma
