// tile_body.h - the vector body of tile.cpp, W rows at a time.
//
// Why it is exact, for finite inputs, with E the group's largest exponent:
//  - A term is cut toward zero to a multiple of 2^(E - F) by scaling it by 2^(F - E), a power of
//    two, and converting it to int32. A product of two halves has 22 significant bits and one of
//    two bf16 has 16, so the f32 product is exact and so is the scaled one; below 2^-126 either may
//    lose bits, but then what is scaled is below 1 and cut to 0 in any case.
//  - |product * 2^(F - E)| < 2^(F + 2) and |c * 2^(F - E)| < 2^(F + 1). With F = 24, eight products
//    and c stay below 2^30. With F = 25 the second eight are below 2^30 and the first with c may
//    pass it, only if nearly all are as large as they can be: then the slow model does the tile,
//    and else the two add up in int32.
//  - The sum becomes an f32 in one rounding, toward zero: the processor rounds that way while the
//    body runs (tile.cpp), and every other operation is exact or of no consequence, as above.
//    Scaling to 2^E is exact.
//  - E >= -100, so that 2^(F - E) is an f32 and no result is subnormal. Products of halves have E
//    >= -28; bf16 products below go to the slow model, and so do those above 2^121 and a c of 2^127
//    or more, so that no sum overflows. A group whose products are all zero returns c (with -0 made
//    +0), because c alone is aligned without loss.
//  - Accumulator f16: rounded to nearest by to_nearest_f16(), for which the processor's rounding
//    stays as it is. E has the table's floor, and what reaches 2^16 goes to the slow model.
//
// GCC vector types must have the width of the machine: a wider one is lowered element by element.
// Comparisons are avoided except in minimum and maximum: g++ 12 turns the result of one into a
// 512-bit vector element by element.
#pragma once
#include <cstdint>

#include "tile.h"

namespace mma {

template <uint32_t SM, Operand OPERAND, Accumulator ACCUMULATOR, int GROUP, int FRACTION, int FLOOR>
struct Model {
  static constexpr uint32_t sm = SM;
  static constexpr Operand operand = OPERAND;
  static constexpr Accumulator accumulator = ACCUMULATOR;
  static constexpr int group = GROUP, fraction = FRACTION, floor = FLOOR;
  static constexpr bool bf16 = OPERAND == Operand::bf16;
  static constexpr bool half_sums = ACCUMULATOR == Accumulator::f16;
  static constexpr int operand_bits = bf16 ? 7 : 10;  // of the fraction
  static constexpr int operand_mask = bf16 ? 255 : 31;
  static constexpr int operand_bias = bf16 ? 127 : 15;
};

template <int W>
struct Vec {
  typedef float f32 __attribute__((vector_size(W * 4)));
  typedef int32_t i32 __attribute__((vector_size(W * 4)));
  typedef int16_t i16 __attribute__((vector_size(W * 4)));  // pairs
};

#define MMA_INLINE inline __attribute__((always_inline))

// As in an f32: e << 23 is the exponent field of 2^(e - kBias).
constexpr int kBias = 127;
// Exponent of a zero: below 0 with any other added, and two of them fit in 16 bits.
constexpr int kDead = -4096;
// What a group starts from: the least E of f32 sums.
constexpr int kLeast = kBias - 100;
// Largest E of bf16 products: 16 of them and a c below 2^127 stay below 2^128.
constexpr int kMost = kBias + 120;

template <class V>
MMA_INLINE V vmax(V a, V b) {
  return a > b ? a : b;
}
template <class V>
MMA_INLINE V vmin(V a, V b) {
  return a < b ? a : b;
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

// W pairs of operands: their values, even k and odd k apart, and their unnormalised exponents,
// still in pairs of 16 bits. Those of B are biased by kBias and those of A are not, so that the
// exponent of a product is.
template <int W>
struct Pairs {
  typename Vec<W>::f32 even, odd;
  typename Vec<W>::i16 exponent;
};

// The values of W pairs of halves: signed significands times powers of two.
template <int W>
MMA_INLINE void half_values(typename Vec<W>::i16 bits, typename Vec<W>::i16 field,
                            Pairs<W>& pairs) {
  using I = typename Vec<W>::i32;
  using S = typename Vec<W>::i16;
  const S sign = ones_if_negative(bits);
  const S significand = (bits & 0x3ff) | vmin(field, S{} + 1) << 10;
  const I both = reinterpret_cast<I>((significand ^ sign) - sign);
  // 2^(max(field, 1) - 15 - 10); a shift by 23 leaves nothing of the other half.
  const I power = reinterpret_cast<I>(vmax(field, S{} + 1) + (kBias - 25));
  using F = typename Vec<W>::f32;
  pairs.even = __builtin_convertvector((both << 16) >> 16, F) * as_f32<W>(power << 23);
  pairs.odd = __builtin_convertvector(both >> 16, F) * as_f32<W>((power >> 16) << 23);
}

// field_max collects the largest exponent field, from which Inf and NaN are recognised.
template <int W, class M>
MMA_INLINE Pairs<W> decode(typename Vec<W>::i32 words, int16_t bias,
                           typename Vec<W>::i16& field_max) {
  using S = typename Vec<W>::i16;
  const S bits = reinterpret_cast<S>(words);
  const S magnitude = bits & 0x7fff;
  const S field = magnitude >> M::operand_bits;
  field_max = vmax(field_max, field);
  Pairs<W> pairs;
  pairs.exponent = vmax(field, S{} + 1) + bias + (ones_if_negative(magnitude - 1) & kDead);
  if constexpr (M::bf16) {
    pairs.even = as_f32<W>(words << 16);
    pairs.odd = as_f32<W>(words & -65536);
  } else {
    half_values<W>(bits, field, pairs);
  }
  return pairs;
}

// W rows of operand A: pairs of k.
template <int W>
struct Rows {
  Pairs<W> pair[8];
};
// All columns of operand B, as scalars.
struct Columns {
  alignas(64) float factor[2][8][8];   // (k % 2, column, k / 2)
  alignas(64) int32_t exponent[8][8];  // (column, pair)
};

template <int W, class M>
MMA_INLINE void decode_rows(const Tile& t, int row, Rows<W>& rows,
                            typename Vec<W>::i16& field_max) {
#pragma GCC unroll 8
  for (int pair = 0; pair < 8; pair++) {
    const auto words = load<typename Vec<W>::i32>(&t.a[pair][row]);
    rows.pair[pair] = decode<W, M>(words, int16_t{-M::operand_bias}, field_max);
  }
}
template <int W, class M>
MMA_INLINE void decode_columns(const Tile& t, Columns& columns, typename Vec<W>::i16& field_max) {
  for (int i = 0; i < 64; i += W) {
    const auto words = load<typename Vec<W>::i32>(&t.b[0][0] + i);
    const Pairs<W> pairs = decode<W, M>(words, int16_t{kBias - M::operand_bias}, field_max);
    __builtin_memcpy(&columns.exponent[0][0] + i, &pairs.exponent, sizeof pairs.exponent);
    __builtin_memcpy(&columns.factor[0][0][0] + i, &pairs.even, sizeof pairs.even);
    __builtin_memcpy(&columns.factor[1][0][0] + i, &pairs.odd, sizeof pairs.odd);
  }
}

// ---- one fused sum ----

// The largest exponent of the products of a group, at least `least`, in pairs: even and odd k.
template <int W, class M>
MMA_INLINE typename Vec<W>::i32 live_exponents(const Rows<W>& a, const Columns& b, int column,
                                               int first_pair, int16_t least) {
  using I = typename Vec<W>::i32;
  using S = typename Vec<W>::i16;
  S largest = S{} + least;
#pragma GCC unroll 8
  for (int i = first_pair; i < first_pair + M::group / 2; i++) {
    const I of_column = I{} + b.exponent[column][i];
    largest = vmax(largest, a.pair[i].exponent + reinterpret_cast<S>(of_column));
  }
  return reinterpret_cast<I>(largest);
}

// Terms of a group after alignment: c and the first eight products, and the rest.
template <int W>
struct Terms {
  typename Vec<W>::i32 first, second;
};

// scale: 2^(F - E).
template <int W, class M>
MMA_INLINE Terms<W> aligned(const Rows<W>& a, const Columns& b, int column, int first_pair,
                            typename Vec<W>::f32 c, typename Vec<W>::f32 scale) {
  using I = typename Vec<W>::i32;
  Terms<W> terms{__builtin_convertvector(c * scale, I), I{}};
#pragma GCC unroll 8
  for (int i = 0; i < M::group / 2; i++) {
    const int pair = first_pair + i;
    const auto even = a.pair[pair].even * b.factor[0][column][pair];
    const auto odd = a.pair[pair].odd * b.factor[1][column][pair];
    I& sum = i < 4 ? terms.first : terms.second;
    sum += __builtin_convertvector(even * scale, I);
    sum += __builtin_convertvector(odd * scale, I);
  }
  return terms;
}

// What a tile collects on its way, to know whether it has to be done again.
template <int W>
struct Watch {
  typename Vec<W>::i16 operand_field = {};  // largest
  typename Vec<W>::i32 sum_field = {};      // largest exponent field of an accumulator, in place
  typename Vec<W>::i32 live = {};           // largest exponent of a product
  typename Vec<W>::i32 redo = {};           // negative: the slow model must do it
};

constexpr int32_t kField = 255 << 23;

// sum, in units of 2^(E - F), to the nearest f16 as an f32; e is the exponent field of 2^E. Adding
// 1.5 * 2^23 units of the result rounds to nearest there, ties to even; because a sum has more bits
// than an f32, its low 12 are added to what the rest lost.
template <int W, class M>
MMA_INLINE typename Vec<W>::f32 to_nearest_f16(typename Vec<W>::i32 sum, typename Vec<W>::i32 e) {
  using I = typename Vec<W>::i32;
  using R = typename Vec<W>::f32;
  // The power of two at or below |sum| (one more may be 2 |sum|, which rounds the same), at least
  // 2^-14, where f16 becomes subnormal.
  const I power = reinterpret_cast<I>(__builtin_convertvector(sum, R)) & kField;
  const I least = static_cast<int32_t>((2u * kBias - 14 + M::fraction) << 23) - e;
  const R shift = as_f32<W>(vmax(power, least)) * 0x1.8p13f;
  const I low = sum & 0xfff;
  const R high = __builtin_convertvector(sum - low, R);
  const R moved = high + shift;
  const R lost = high - (moved - shift);
  const R nearest = (moved + (lost + __builtin_convertvector(low, R))) - shift;
  return nearest * as_f32<W>(e - (M::fraction << 23));
}

// One fused sum for W rows of A and one column of B.
template <int W, class M>
MMA_INLINE typename Vec<W>::f32 fused(const Rows<W>& a, const Columns& b, int column,
                                      int first_pair, typename Vec<W>::f32 c, Watch<W>& watch) {
  using I = typename Vec<W>::i32;
  using R = typename Vec<W>::f32;
  constexpr int kLive = M::half_sums ? kBias + M::floor : M::bf16 ? 2 * kDead : kLeast;
  const I pairs = live_exponents<W, M>(a, b, column, first_pair, kLive);
  const I live = vmax((pairs << 16) >> 16, pairs >> 16);
  const I field = reinterpret_cast<I>(c) & kField;
  watch.sum_field = vmax(watch.sum_field, field);
  // All ones where every product is zero.
  const I dead = ones_if_negative(live - (M::bf16 ? kDead / 2 : kLeast + 1));
  I e = vmax((M::bf16 ? vmax(live, I{}) : live) << 23, field);
  if constexpr (M::bf16) {
    watch.live = vmax(watch.live, live);
    watch.redo |= (e - (kLeast << 23)) & ~dead;
    e = vmax(e, I{} + (kLeast << 23));
  }
  const auto scale = as_f32<W>(static_cast<int32_t>((2u * kBias + M::fraction) << 23) - e);
  const Terms<W> terms = aligned<W, M>(a, b, column, first_pair, c, scale);
  if (M::group == 16) watch.redo |= terms.first + (1 << 30);
  const I sum = terms.first + terms.second;
  if constexpr (M::half_sums) return to_nearest_f16<W, M>(sum, e);
  const R result = __builtin_convertvector(sum, R) * as_f32<W>(e - (M::fraction << 23));
  const R alone = c + 0.0f;
  return as_f32<W>((~dead & reinterpret_cast<I>(result)) | (dead & reinterpret_cast<I>(alone)));
}

// The tile, in 16 / group chained groups. Returns nonzero if the slow model has to redo it.
template <int W, class M>
MMA_INLINE int tile_body(Tile& t) {
  using I = typename Vec<W>::i32;
  using R = typename Vec<W>::f32;
  // The least exponent field of an accumulator that is too large: 2^127, or the Inf of an f16.
  constexpr int kSumFieldEnd = M::half_sums ? kBias + 16 : 254;
  Columns b;
  Watch<W> watch;
  decode_columns<W, M>(t, b, watch.operand_field);
  for (int row = 0; row < 16; row += W) {
    Rows<W> a;
    decode_rows<W, M>(t, row, a, watch.operand_field);
    for (int column = 0; column < 8; column++) {
      R sum = load<R>(&t.c[column][row]);
#pragma GCC unroll 2
      for (int pair = 0; pair < 8; pair += M::group / 2) {
        sum = fused<W, M>(a, b, column, pair, sum, watch);
      }
      // An f16 accumulator overflows to Inf, which the slow model writes.
      if (M::half_sums) {
        watch.sum_field = vmax(watch.sum_field, reinterpret_cast<I>(sum) & kField);
      }
      __builtin_memcpy(&t.d[column][row], &sum, sizeof sum);
    }
  }
  const auto operands = reinterpret_cast<I>(watch.operand_field - M::operand_mask);
  I fast = operands & (operands << 16) & (watch.sum_field - (kSumFieldEnd << 23)) & ~watch.redo;
  if (M::bf16) fast &= watch.live - (kMost + 1);
  int64_t parts[W / 2], all = -1;
  const I negative = ones_if_negative(fast);
  __builtin_memcpy(parts, &negative, sizeof parts);
  for (int64_t part : parts) all &= part;
  return all != -1;
}

}  // namespace mma
