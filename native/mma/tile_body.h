// tile_body.h - the vector body of tile.cpp, W rows at a time.
//
// Why it is exact, for finite inputs:
//  - With E the group's largest exponent, a term is cut toward zero to a multiple of 2^(E - F) by
//    scaling it by 2^(F - E), a power of two, and converting it to int32. A product of two halves
//    has 22 significant bits, so the f32 product is exact and so is the scaled one (below 2^-126 it
//    may lose bits, but then it is below 1 and cut to 0 in any case). Products of bf16 leave the
//    range of f32, so there the significands are multiplied and scaled by what is left of the
//    exponents, at least 2^-126, which cuts to 0 as well.
//  - |product * 2^(F - E)| < 2^(F + 2) and |c * 2^(F - E)| < 2^(F + 1). With F = 24 and 8 products
//    one int32 holds all; with F = 25 eight products and c (2^30 + 2^26) and the other eight apart.
//  - Accumulator f32: the int32 sum of the two overflows only if nearly all products are as large
//    as they can be, and then the slow model does the tile. The sum becomes a float to nearest, and
//    one unit less where that was away from zero. Scaling to 2^E is exact; what passes 2^128
//    becomes Inf, as the model wants, and a subnormal result (bf16 only) goes to the slow model.
//  - Accumulator f16: the two meet in a double, which holds at most 32 bits. Adding and subtracting
//    1.5 * 2^52 units of the result rounds to nearest there, ties to even.
//  - Operands f16, accumulator f32: a live product has E >= -28, so no result is subnormal and the
//    table's exponent floor never matters; E is clamped at -100 to keep 2^(F - E) in range. Only
//    groups without a live product get there, and those return c (with -0 made +0), because c alone
//    is aligned without loss.
//
// GCC vector types must have the width of the machine: a wider one is lowered element by element.
// Comparisons are avoided except in minimum and maximum: g++ 12 turns the result of one into a
// 512-bit vector element by element.
#pragma once
#include <cstdint>
#include <utility>

#include "tile.h"

namespace mma {

template <uint32_t SM, Operand OPERAND, Accumulator ACCUMULATOR, int GROUP, int FRACTION, int FLOOR>
struct Model {
  static constexpr uint32_t sm = SM;
  static constexpr Operand operand = OPERAND;
  static constexpr Accumulator accumulator = ACCUMULATOR;
  static constexpr int group = GROUP, fraction = FRACTION, floor = FLOOR;
  static constexpr bool bf16 = OPERAND == Operand::bf16;
  static constexpr int operand_bits = bf16 ? 7 : 10;  // of the fraction
  static constexpr int operand_mask = bf16 ? 255 : 31;
  static constexpr int operand_bias = bf16 ? 127 : 15;
};

template <int W>
struct Vec {
  typedef float f32 __attribute__((vector_size(W * 4)));
  typedef int32_t i32 __attribute__((vector_size(W * 4)));
  typedef int16_t i16 __attribute__((vector_size(W * 4)));  // pairs
  // Half as many elements, so that f64 has the machine's width too.
  typedef double f64 __attribute__((vector_size(W * 4)));
  typedef int64_t i64 __attribute__((vector_size(W * 4)));
  typedef float f32_half __attribute__((vector_size(W * 2)));
  typedef int32_t i32_half __attribute__((vector_size(W * 2)));
};

#define MMA_INLINE inline __attribute__((always_inline))

constexpr int kDead = -4096;  // exponent of a zero: below every sum of two live exponents

template <class V>
MMA_INLINE V vmax(V a, V b) {
  return a > b ? a : b;
}
// 1 for an element that is not zero, where none is negative.
template <class V>
MMA_INLINE V one_if_positive(V a) {
  return a < V{} + 1 ? a : V{} + 1;
}
// All ones for a negative element, 0 for another.
template <class V>
MMA_INLINE V ones_if_negative(V a) {
  return a >> (8 * sizeof a[0] - 1);
}
template <class To, class From>
MMA_INLINE To load(const From* from) {
  To to;
  __builtin_memcpy(&to, from, sizeof to);
  return to;
}
template <int W>
MMA_INLINE typename Vec<W>::f32 as_f32(typename Vec<W>::i32 bits) {
  return reinterpret_cast<typename Vec<W>::f32>(bits);
}

// ---- operands ----

// W pairs of operands: the unnormalised exponents, in 16 bits each. field_max collects the largest
// exponent field, from which Inf and NaN are recognised.
template <int W, class M>
MMA_INLINE typename Vec<W>::i16 exponents(typename Vec<W>::i32 pairs,
                                          typename Vec<W>::i16& field_max) {
  using I = typename Vec<W>::i16;
  const I bits = reinterpret_cast<I>(pairs);
  const I field = (bits >> M::operand_bits) & M::operand_mask;
  field_max = vmax(field_max, field);
  const I dead = (one_if_positive(bits & 0x7fff) - 1) & kDead;
  return vmax(field, I{} + 1) - M::operand_bias + dead;
}

// What is multiplied, from W operands in the low 16 bits: the value of an f16, the signed
// significand of a bf16 as an integer.
template <int W, class M>
MMA_INLINE typename Vec<W>::f32 factors(typename Vec<W>::i32 bits) {
  using I = typename Vec<W>::i32;
  const I field = (bits >> M::operand_bits) & M::operand_mask;
  const I fraction = bits & ((1 << M::operand_bits) - 1);
  const I significand = fraction | one_if_positive(field) << M::operand_bits;
  const I sign = (bits & 0x8000) << 16;
  const auto magnitude = __builtin_convertvector(significand, typename Vec<W>::f32);
  if constexpr (M::bf16) return as_f32<W>(reinterpret_cast<I>(magnitude) | sign);
  // 2^(max(field, 1) - 15 - 10) with the sign of the half.
  const I power = ((vmax(field, I{} + 1) + (127 - 25)) << 23) | sign;
  return magnitude * as_f32<W>(power);
}

// W rows of operand A. Element k is factor[k % 2][k / 2]; exponents stay in pairs.
template <int W>
struct Rows {
  typename Vec<W>::f32 factor[2][8];
  typename Vec<W>::i16 exponent[8];
};
// All columns of operand B, as scalars.
struct Columns {
  alignas(64) float factor[2][8][8];   // (k % 2, column, k / 2)
  alignas(64) int32_t exponent[8][8];  // (column, pair)
};

template <int W, class M>
MMA_INLINE void decode_rows(const Tile& t, int row, Rows<W>& rows,
                            typename Vec<W>::i16& field_max) {
  for (int pair = 0; pair < 8; pair++) {
    const auto pairs = load<typename Vec<W>::i32>(&t.a[pair][row]);
    rows.exponent[pair] = exponents<W, M>(pairs, field_max);
    rows.factor[0][pair] = factors<W, M>(pairs & 0xffff);
    rows.factor[1][pair] = factors<W, M>((pairs >> 16) & 0xffff);
  }
}
template <int W, class M>
MMA_INLINE void decode_columns(const Tile& t, Columns& columns, typename Vec<W>::i16& field_max) {
  for (int i = 0; i < 64; i += W) {
    const auto pairs = load<typename Vec<W>::i32>(&t.b[0][0] + i);
    const auto exponent = exponents<W, M>(pairs, field_max);
    const auto even = factors<W, M>(pairs & 0xffff), odd = factors<W, M>((pairs >> 16) & 0xffff);
    __builtin_memcpy(&columns.exponent[0][0] + i, &exponent, sizeof exponent);
    __builtin_memcpy(&columns.factor[0][0][0] + i, &even, sizeof even);
    __builtin_memcpy(&columns.factor[1][0][0] + i, &odd, sizeof odd);
  }
}

// ---- rounding ----

// The lower or upper half of the elements of v, and the two put together. Not by memory: a load
// that spans two stores waits for both.
template <class Half, int FROM, class V, int... I>
MMA_INLINE Half half_of(V v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (FROM + I)...);
}
template <class V, class Half, int... I>
MMA_INLINE V join(Half low, Half high, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(low, high, I...);
}

// (first + second) * 2^(exponent - F), to nearest f16: W / 2 elements.
template <int W, class M>
MMA_INLINE typename Vec<W>::f32_half round_half(typename Vec<W>::i32_half first,
                                                typename Vec<W>::i32_half second,
                                                typename Vec<W>::i32_half exponent) {
  using D = typename Vec<W>::f64;
  using L = typename Vec<W>::i64;
  D sum = __builtin_convertvector(first, D) + __builtin_convertvector(second, D);
  sum *= reinterpret_cast<D>((__builtin_convertvector(exponent, L) + (1023 - M::fraction)) << 52);
  // The power of two at or below |sum|, at least 2^-14, times 1.5 * 2^(52 - 10).
  const D power = reinterpret_cast<D>(reinterpret_cast<L>(sum) & (int64_t{2047} << 52));
  const D shift = vmax(power, D{} + 0x1p-14) * 0x1.8p42;
  return __builtin_convertvector((sum + shift) - shift, typename Vec<W>::f32_half);
}
template <int W, class M>
MMA_INLINE typename Vec<W>::f32 to_nearest_f16(typename Vec<W>::i32 first,
                                               typename Vec<W>::i32 second,
                                               typename Vec<W>::i32 exponent) {
  using Half = typename Vec<W>::i32_half;
  constexpr std::make_integer_sequence<int, W / 2> each;
  const auto low = round_half<W, M>(half_of<Half, 0>(first, each), half_of<Half, 0>(second, each),
                                    half_of<Half, 0>(exponent, each));
  const auto high =
      round_half<W, M>(half_of<Half, W / 2>(first, each), half_of<Half, W / 2>(second, each),
                       half_of<Half, W / 2>(exponent, each));
  return join<typename Vec<W>::f32>(low, high, std::make_integer_sequence<int, W>{});
}

// (first + second) * 2^(exponent - F), toward zero to f32: W elements. overflow: all ones where the
// sum left int32.
template <int W, class M>
MMA_INLINE typename Vec<W>::f32 round_toward_zero(typename Vec<W>::i32 first,
                                                  typename Vec<W>::i32 second,
                                                  typename Vec<W>::i32 exponent,
                                                  typename Vec<W>::i32& overflow) {
  using I = typename Vec<W>::i32;
  using R = typename Vec<W>::f32;
  const I sum = first + second;
  const I negative = ones_if_negative(sum);
  const I magnitude = (sum ^ negative) - negative;
  overflow |= ones_if_negative(((first ^ sum) & (second ^ sum)) | magnitude);
  const R nearest = __builtin_convertvector(magnitude, R);
  const I away = ones_if_negative(magnitude - __builtin_convertvector(nearest, I));
  const R cut = as_f32<W>((reinterpret_cast<I>(nearest) + away) | (sum & INT32_MIN));
  if constexpr (!M::bf16) return cut * as_f32<W>((exponent + (127 - M::fraction)) << 23);
  // In two steps: the first keeps a result that the second makes subnormal, and one that overflows
  // does so in either.
  const I power = exponent - M::fraction;
  const I most = -vmax(-vmax(power, I{} - 126), I{} - 127);
  return cut * as_f32<W>((most + 127) << 23) * as_f32<W>((power - most + 127) << 23);
}

// ---- one fused sum ----

// factor * 2^power, cut toward zero, where power is at most 127. A factor is below 2^24, so that
// with a power below -126 the result is 0 whatever it is.
template <int W>
MMA_INLINE typename Vec<W>::i32 cut(typename Vec<W>::f32 factor, typename Vec<W>::i32 power) {
  using I = typename Vec<W>::i32;
  const auto scale = as_f32<W>((vmax(power, I{} - 126) + 127) << 23);
  return __builtin_convertvector(factor * scale, I);
}

// Terms of a group after alignment at exponent e: c and the first eight products, and the rest.
template <int W>
struct Terms {
  typename Vec<W>::i32 first, second;
};

template <int W, class M>
MMA_INLINE Terms<W> aligned_f16(const Rows<W>& a, const Columns& b, int column, int first_pair,
                                typename Vec<W>::f32 c, typename Vec<W>::i32 e) {
  using I = typename Vec<W>::i32;
  const auto scale = as_f32<W>((I{} + (127 + M::fraction) - e) << 23);
  Terms<W> terms{__builtin_convertvector(c * scale, I), I{}};
#pragma GCC unroll 16
  for (int i = 0; i < M::group; i++) {
    const int pair = first_pair + i / 2;
    const auto product = a.factor[i & 1][pair] * b.factor[i & 1][column][pair];
    (i < 8 ? terms.first : terms.second) += __builtin_convertvector(product * scale, I);
  }
  return terms;
}

template <int W, class M>
MMA_INLINE Terms<W> aligned_bf16(const Rows<W>& a, const Columns& b, int column, int first_pair,
                                 typename Vec<W>::i32 c, typename Vec<W>::i32 e) {
  using I = typename Vec<W>::i32;
  const I field = (c >> 23) & 255;
  const I significand = (c & 0x7fffff) | one_if_positive(field) << 23;
  const auto magnitude = __builtin_convertvector(significand, typename Vec<W>::f32);
  const auto c_factor = as_f32<W>(reinterpret_cast<I>(magnitude) | (c & INT32_MIN));
  const I offset = M::fraction - e;
  Terms<W> terms{cut<W>(c_factor, vmax(field, I{} + 1) - (127 + 23) + offset), I{}};
#pragma GCC unroll 16
  for (int i = 0; i < M::group; i++) {
    const int pair = first_pair + i / 2;
    const auto product = a.factor[i & 1][pair] * b.factor[i & 1][column][pair];
    const I of_column = I{} + b.exponent[column][pair];
    const I both =
        reinterpret_cast<I>(a.exponent[pair] + reinterpret_cast<typename Vec<W>::i16>(of_column));
    const I exponent = i & 1 ? both >> 16 : (both << 16) >> 16;
    (i < 8 ? terms.first : terms.second) += cut<W>(product, exponent - 14 + offset);
  }
  return terms;
}

// The largest exponent of the products of a group; below kDead / 2 if all are zero.
template <int W, class M>
MMA_INLINE typename Vec<W>::i32 live_exponent(const Rows<W>& a, const Columns& b, int column,
                                              int first_pair) {
  using I = typename Vec<W>::i32;
  using Pairs = typename Vec<W>::i16;
  Pairs largest = Pairs{} + 2 * kDead;
#pragma GCC unroll 8
  for (int i = 0; i < M::group / 2; i++) {
    const I of_column = I{} + b.exponent[column][first_pair + i];
    largest = vmax(largest, a.exponent[first_pair + i] + reinterpret_cast<Pairs>(of_column));
  }
  const I both = reinterpret_cast<I>(largest);
  return vmax((both << 16) >> 16, both >> 16);
}

// One fused sum for W rows of A and one column of B. redo: all ones where the slow model must do
// it.
template <int W, class M>
MMA_INLINE typename Vec<W>::f32 fused(const Rows<W>& a, const Columns& b, int column,
                                      int first_pair, typename Vec<W>::f32 c,
                                      typename Vec<W>::i32& redo) {
  using I = typename Vec<W>::i32;
  const I live = live_exponent<W, M>(a, b, column, first_pair);
  const I c_bits = reinterpret_cast<I>(c);
  const I c_dead = (one_if_positive(c_bits & INT32_MAX) - 1) & kDead;
  const I c_exponent = vmax((c_bits >> 23) & 255, I{} + 1) - 127 + c_dead;
  const I e = vmax(vmax(c_exponent, live), I{} + M::floor);
  if constexpr (M::bf16) {
    const Terms<W> terms = aligned_bf16<W, M>(a, b, column, first_pair, c_bits, e);
    const auto result = round_toward_zero<W, M>(terms.first, terms.second, e, redo);
    const I sum = terms.first + terms.second;  // modulo 2^32, but 0 only if the sum is
    const I magnitude = reinterpret_cast<I>(result) & INT32_MAX;
    redo |= ones_if_negative(magnitude - 0x00800001) & ones_if_negative(sum | -sum);
    return result;
  }
  const Terms<W> terms = aligned_f16<W, M>(a, b, column, first_pair, c, e);
  if constexpr (M::accumulator == Accumulator::f16) {
    return to_nearest_f16<W, M>(terms.first, terms.second, e);
  }
  const auto result = round_toward_zero<W, M>(terms.first, terms.second, e, redo);
  const I dead = ones_if_negative(live - kDead / 2);
  const auto alone = c + 0.0f;
  return as_f32<W>((~dead & reinterpret_cast<I>(result)) | (dead & reinterpret_cast<I>(alone)));
}

// The tile, in 16 / group chained groups. Returns nonzero if the slow model has to redo it.
template <int W, class M>
MMA_INLINE int tile_body(Tile& t) {
  using I = typename Vec<W>::i32;
  using R = typename Vec<W>::f32;
  // The largest exponent field that a finite accumulator has; 2^16 is the Inf of an f16.
  constexpr int kSumFieldEnd = M::accumulator == Accumulator::f32 ? 255 : 127 + 16;
  Columns b;
  typename Vec<W>::i16 operand_field = {};
  I sum_field = {}, redo = {};
  decode_columns<W, M>(t, b, operand_field);
  for (int row = 0; row < 16; row += W) {
    Rows<W> a;
    decode_rows<W, M>(t, row, a, operand_field);
    for (int column = 0; column < 8; column++) {
      R sum = load<R>(&t.c[column][row]);
#pragma GCC unroll 2
      for (int pair = 0; pair < 8; pair += M::group / 2) {
        sum_field = vmax(sum_field, (reinterpret_cast<I>(sum) >> 23) & 255);
        sum = fused<W, M>(a, b, column, pair, sum, redo);
      }
      // An f16 accumulator overflows to Inf, which the slow model writes.
      if (M::accumulator == Accumulator::f16) {
        sum_field = vmax(sum_field, (reinterpret_cast<I>(sum) >> 23) & 255);
      }
      __builtin_memcpy(&t.d[column][row], &sum, sizeof sum);
    }
  }
  const auto finite = ones_if_negative(operand_field - M::operand_mask);
  redo |= ~(reinterpret_cast<I>(finite) & ones_if_negative(sum_field - kSumFieldEnd));
  int64_t parts[W / 2], any = 0;
  __builtin_memcpy(parts, &redo, sizeof parts);
  for (int64_t part : parts) any |= part;
  return any != 0;
}

}  // namespace mma
