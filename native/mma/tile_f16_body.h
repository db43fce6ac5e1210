// tile_f16_body.h - the vector body of tile_f16.cpp, W rows at a time.
//
// Why it is exact, for finite inputs:
//  - A half is held as the f32 value and its unnormalised exponent e (emin for subnormals). A
//  product
//    of two halves has 22 significant bits, so the f32 product is exact.
//  - With E the group's largest exponent, product * 2^(F - E) is exact (a power of two; below
//  2^-126 it
//    may lose bits, but then it is below 1 and cut to 0 in any case), and conversion to int32 cuts
//    toward zero, which is step 5 of the model.
//  - |product * 2^(F - E)| < 2^(F + 2) and |c * 2^(F - E)| < 2^(F + 1). With F = 25, 16 products do
//    not fit in int32, but eight and c do (2^30 + 2^26), so the group is summed in two halves that
//    meet in a double. With F = 24 and 8 products one int32 holds all.
//  - The double sum has at most 32 bits; masking the low 29 bits of its fraction is rounding toward
//    zero to 24 bits, and then the conversion to f32 is exact. A live product has E >= -28, so that
//    the result is no subnormal; a sum of 2^128 or more converts to Inf, as the model wants.
//  - E is clamped at -100 to keep 2^(F - E) in range. Only groups without a live product get there,
//    and those return c (with -0 made +0), because c alone is aligned without loss.
//
// GCC vector types must have the width of the machine: a wider one is lowered element by element.
#pragma once
#include <cstdint>
#include <cstring>

#include "tile_f16.h"

namespace mma {

template <int W>
struct Vec {
  typedef float f32 __attribute__((vector_size(W * 4)));
  typedef int32_t i32 __attribute__((vector_size(W * 4)));
  typedef uint16_t u16 __attribute__((vector_size(W * 2)));
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

template <class To, class From>
MMA_INLINE To load(const From* from) {
  To to;
  __builtin_memcpy(&to, from, sizeof to);
  return to;
}

// W halves: their f32 values, their unnormalised exponents, and -1 in special where Inf or NaN.
template <int W>
MMA_INLINE void decode(const uint16_t* from, typename Vec<W>::f32& value,
                       typename Vec<W>::i32& exponent, typename Vec<W>::i32& special) {
  using I = typename Vec<W>::i32;
  const I h = __builtin_convertvector(load<typename Vec<W>::u16>(from), I);
  const I field = (h >> 10) & 31;
  const I normal = field != 0;
  special |= field == 31;
  const I significand = (h & 1023) | (normal & 1024);
  const I e = vmax(field, I{} + 1) - 15;
  // 2^(e - 10) with the sign of the half: 117 = 127 - 10.
  const I power = ((e + 117) << 23) | ((h & 0x8000) << 16);
  value = __builtin_convertvector(significand, typename Vec<W>::f32) *
          reinterpret_cast<typename Vec<W>::f32>(power);
  exponent = significand != 0 ? e : I{} + kDead;
}

// The sum (first + second) * 2^(E - F), rounded toward zero to f32, W/2 elements.
template <int W, int F>
MMA_INLINE void round_half(const char* first, const char* second, const char* exponent, char* out) {
  using V = Vec<W>;
  const auto a = load<typename V::i32_half>(first);
  const auto b = load<typename V::i32_half>(second);
  const auto e = load<typename V::i32_half>(exponent);
  typename V::f64 sum =
      __builtin_convertvector(a, typename V::f64) + __builtin_convertvector(b, typename V::f64);
  sum *= reinterpret_cast<typename V::f64>(
      (__builtin_convertvector(e, typename V::i64) + (1023 - F)) << 52);
  sum = reinterpret_cast<typename V::f64>(reinterpret_cast<typename V::i64>(sum) &
                                          ~((int64_t{1} << 29) - 1));
  const auto rounded = __builtin_convertvector(sum, typename V::f32_half);
  __builtin_memcpy(out, &rounded, sizeof rounded);
}

// One fused sum of N products for W rows: a, ae are (N) vectors of rows; b, be (N) scalars.
template <int W, int N, int F>
MMA_INLINE typename Vec<W>::f32 fused(const typename Vec<W>::f32* a, const typename Vec<W>::i32* ae,
                                      const float* b, const int32_t* be, typename Vec<W>::f32 c) {
  using V = Vec<W>;
  using I = typename V::i32;
  using R = typename V::f32;
  R product[N];
  I live_exponent = I{} + kDead;
#pragma GCC unroll 16
  for (int k = 0; k < N; k++) {
    product[k] = a[k] * b[k];
    live_exponent = vmax(live_exponent, ae[k] + be[k]);
  }
  const I c_bits = reinterpret_cast<I>(c);
  I c_exponent = vmax((c_bits >> 23) & 255, I{} + 1) - 127;
  c_exponent = (c_bits & 0x7fffffff) != 0 ? c_exponent : I{} + kDead;
  const I e = vmax(vmax(c_exponent, live_exponent), I{} - 100);
  const R scale = reinterpret_cast<R>((I{} + (127 + F) - e) << 23);
  I first = __builtin_convertvector(c * scale, I), second = {};
#pragma GCC unroll 16
  for (int k = 0; k < N; k++) {
    const I term = __builtin_convertvector(product[k] * scale, I);
    if (k < 8) {
      first += term;
    } else {
      second += term;
    }
  }
  R result;
  for (int half = 0; half < 2; half++) {
    const int at = 2 * W * half;
    round_half<W, F>(reinterpret_cast<const char*>(&first) + at,
                     reinterpret_cast<const char*>(&second) + at,
                     reinterpret_cast<const char*>(&e) + at, reinterpret_cast<char*>(&result) + at);
  }
  const I live = live_exponent > kDead / 2;
  const R alone = c + 0.0f;
  return reinterpret_cast<R>((live & reinterpret_cast<I>(result)) |
                             (~live & reinterpret_cast<I>(alone)));
}

// The tile, in 16 / N chained groups. Returns nonzero if the slow model has to redo it.
template <int W, int N, int F>
MMA_INLINE int tile_body(TileF16& t) {
  using I = typename Vec<W>::i32;
  using R = typename Vec<W>::f32;
  alignas(64) float b[8][16];     // (column, k) values
  alignas(64) int32_t be[8][16];  // (column, k) exponents
  I special = {};
  for (int i = 0; i < 128; i += W) {
    R value;
    I exponent;
    decode<W>(&t.b[0][0] + i, value, exponent, special);
    __builtin_memcpy(&b[0][0] + i, &value, sizeof value);
    __builtin_memcpy(&be[0][0] + i, &exponent, sizeof exponent);
  }
  for (int row = 0; row < 16; row += W) {
    R a[16];
    I ae[16];
    for (int k = 0; k < 16; k++) decode<W>(&t.a[k][row], a[k], ae[k], special);
    for (int column = 0; column < 8; column++) {
      R sum = load<R>(&t.c[column][row]);
#pragma GCC unroll 2
      for (int k = 0; k < 16; k += N) {
        special |= ((reinterpret_cast<I>(sum) >> 23) & 255) == 255;
        sum = fused<W, N, F>(a + k, ae + k, b[column] + k, be[column] + k, sum);
      }
      __builtin_memcpy(&t.d[column][row], &sum, sizeof sum);
    }
  }
  int32_t any = 0;
  for (int i = 0; i < W; i++) any |= special[i];
  return any;
}

}  // namespace mma
