// special.cpp - see special.h.
//
// The unit (Oberman and Siu, "A high-performance area-efficient multifunction interpolator", ARITH
// 2005) splits the 23 bits of the fraction into a segment, which selects a table entry, and the
// rest x:
//   value = c0 + c1 x + c2 S(x)
// in fixed point, where S(x) is x squared without the partial products below a cut-off, and c0
// carries a constant that makes up for what is cut. The bits that do not fit the result are
// dropped.
//
// How the numbers were found: an H100 (80GB HBM3, driver 580, CUDA 13.0, 2026-11-24) was asked for
// all 2^23 fractions of each function. For every segment exactly one choice of c0, c1, c2 on the
// grids below gives all of its results, and all segments agree on the constant. special_test.cpp
// holds the functions against hashes of what the H100 answered; on the rest of the arguments see
// there.
#include "special.h"

#include <cmath>
#include <cstring>

#include "special_tables.h"

namespace mma {
namespace {

constexpr uint32_t kFractions = 1u << 23;

template <class To, class From>
To bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// x^2 in units of 2^CUT, x of BITS bits, from the partial products 2^(i + j) that are at least one
// unit. Bit j contributes its own square and its products with all lower bits, twice.
template <int BITS, int CUT>
int64_t truncated_square(uint32_t x) {
  uint32_t sum = 0;
  for (int j = BITS - 1; 2 * j >= CUT; j--) {
    const uint32_t products = ((x & ((1u << j) - 1)) >> (CUT - 1 - j)) + (1u << (2 * j - CUT));
    sum += (x >> j & 1) * products;
  }
  return sum;
}

// The same for 17 bits and 2^19, where bits 0 and 1 never count, looked up: ex2 is what emulated
// attention calls most.
struct Squares {
  uint16_t of[1u << 15];
  Squares() {
    for (uint32_t i = 0; i < sizeof of / sizeof of[0]; i++) {
      of[i] = static_cast<uint16_t>(truncated_square<17, 19>(4 * i));
    }
  }
};
const Squares squares;

template <int BITS, int CUT>
int64_t square(uint32_t x) {
  if constexpr (BITS == 17 && CUT == 19) return squares.of[x >> 2];
  return truncated_square<BITS, CUT>(x);
}

// The quadratic at a fraction: 2^SEGMENT_BITS segments, c0 in units of 2^C0_SHIFT.
template <int SEGMENT_BITS, int CUT, int C0_SHIFT>
int64_t evaluate(const Quadratic* table, int64_t constant, uint32_t fraction) {
  constexpr int kBits = 23 - SEGMENT_BITS;
  const Quadratic& q = table[fraction >> kBits];
  const uint32_t x = fraction & ((1u << kBits) - 1);
  return (static_cast<int64_t>(q.c0) << C0_SHIFT) + constant + static_cast<int64_t>(q.c1) * x +
         q.c2 * square<kBits, CUT>(x);
}

float power_of_two(int exponent) {
  return bits<float>(static_cast<uint32_t>(exponent + 127) << 23);
}

constexpr float kNan = __builtin_bit_cast(float, 0x7fffffffu);

// magnitude * 2^-36, a positive number, cut toward zero to 24 bits.
float from_fixed(uint64_t magnitude, bool negative) {
  if (magnitude == 0) return negative ? -0.0f : 0.0f;
  const int leading = 63 - __builtin_clzll(magnitude);
  const uint64_t cut = leading > 23 ? magnitude >> (leading - 23) << (leading - 23) : magnitude;
  const float value = static_cast<float>(cut) * 0x1p-36f;
  return negative ? -value : value;
}

}  // namespace

// 38 fraction bits.
float ex2_fraction(uint32_t i) {
  const auto value = static_cast<uint64_t>(evaluate<6, 19, 13>(kEx2, 6114, i));
  return bits<float>(0x3f800000u | (static_cast<uint32_t>(value >> 15) & 0x7fffffu));
}

float ex2_approx_ftz(float x) {
  if (!(bits<uint32_t>(x) & 0x7f800000u)) return 1.0f;  // zero, and subnormals are flushed
  if (!(x == x)) return kNan;
  if (x < -126.0f) return 0.0f;
  if (x >= 128.0f) return __builtin_inff();
  const float magnitude = std::fabs(x);
  const int whole = static_cast<int>(magnitude);
  const auto fraction = static_cast<uint32_t>((magnitude - static_cast<float>(whole)) * 0x1p23f);
  if (x >= 0.0f) return ex2_fraction(fraction) * power_of_two(whole);
  if (fraction == 0) return power_of_two(-whole);
  // -whole - 1 reaches -127 for x in (-127, -126), which is flushed above.
  return ex2_fraction(kFractions - 1 - fraction) * power_of_two(-whole - 1);
}

// 39 fraction bits of a value in (1/2, 1].
float rcp_approx_ftz(float x) {
  const uint32_t b = bits<uint32_t>(x), sign = b & 0x80000000u;
  const int field = static_cast<int>(b >> 23 & 255);
  if (field == 255) return bits<float>(b & 0x7fffffu ? 0x7fffffffu : sign);
  if (field == 0) return bits<float>(sign | 0x7f800000u);
  const auto value = static_cast<uint64_t>(evaluate<7, 17, 13>(kRcp, 2023, b & 0x7fffffu));
  const bool one = value >> 39 != 0;  // only for a fraction of 0
  const int exponent = (one ? 127 : 126) - (field - 127);
  if (exponent <= 0) return bits<float>(sign);
  const auto fraction = static_cast<uint32_t>(value >> (one ? 16 : 15)) & 0x7fffffu;
  return bits<float>(sign | static_cast<uint32_t>(exponent) << 23 | fraction);
}

// 38 fraction bits, of which the result sees 36.
float lg2_approx_ftz(float x) {
  const uint32_t b = bits<uint32_t>(x);
  const int field = static_cast<int>(b >> 23 & 255);
  if (field == 0) return -__builtin_inff();
  if (!(x > 0)) return kNan;
  if (field == 255) return x;
  if (b == 0x3f800000u) return 0.0f;
  const int64_t sum =
      (static_cast<int64_t>(field - 127) << 38) + evaluate<6, 19, 12>(kLg2, 837, b & 0x7fffffu);
  return from_fixed(static_cast<uint64_t>(sum < 0 ? ~sum : sum) >> 2, sum < 0);
}

}  // namespace mma
