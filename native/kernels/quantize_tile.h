// quantize_tile.h - what quantize reads: 128 tokens of one head in shared memory, as fragments of
// 16 rows and 16 columns, and the extremes of what a lane has seen of them.
//
// Comparisons are exact in every type; a NaN loses, -0 < +0 (quantize_group.h).
#pragma once
#include <type_traits>

#include "quantize_group.h"

namespace kvproof {

constexpr int quantize_threads = 128;

// ---- the tile: 128 tokens in chunks of 16 bytes, a row of D / 8 chunks for each token ----

// Chunks are swapped within groups of eight, so that eight rows of one column lie in all banks.
struct Tile {
  uint4* chunks;
  int row_chunks;

  DEV_FN uint4* at(int token, int chunk) const {
    return chunks + token * row_chunks + (chunk ^ (token & 7));
  }
  // Fragment of 16 rows and 16 columns. V lies transposed.
  template <bool IS_V>
  DEV_FN void fragment(uint32_t (&x)[4], int row_tile, int step, int lane) const {
    const int matrix = lane >> 3, i = lane & 7;
    if constexpr (IS_V) {
      dev::ldmatrix_trans(x, at(step * 16 + (matrix >> 1) * 8 + i, row_tile * 2 + (matrix & 1)));
    } else {
      dev::ldmatrix(x, at(row_tile * 16 + (matrix & 1) * 8 + i, step * 2 + (matrix >> 1)));
    }
  }
};

// x: token 0 of the record; tokens are token_stride elements apart.
DEV_FN void load_tile(const Tile& tile, const uint16_t* x, size_t token_stride) {
  for (int i = dev::thread_x(); i < record_tokens * tile.row_chunks; i += quantize_threads) {
    const int token = i / tile.row_chunks, chunk = i % tile.row_chunks;
    dev::cp_async16(tile.at(token, chunk), x + token * token_stride + chunk * 8);
  }
  dev::cp_async_commit();
  dev::cp_async_wait<0>();
  dev::syncthreads();
}

// ---- extremes of two columns at once ----

DEV_FN uint32_t pair_max(uint32_t a, uint32_t b) { return dev::h2max(a, b); }
DEV_FN uint32_t pair_min(uint32_t a, uint32_t b) { return dev::h2min(a, b); }
DEV_FN float2 pair_max(float2 a, float2 b) {
  return make_float2(dev::max_num(a.x, b.x), dev::max_num(a.y, b.y));
}
DEV_FN float2 pair_min(float2 a, float2 b) {
  return make_float2(dev::min_num(a.x, b.x), dev::min_num(a.y, b.y));
}
DEV_FN uint32_t pair_from(uint32_t x, int lanes_apart) { return dev::shfl_xor(x, lanes_apart); }
DEV_FN float2 pair_from(float2 x, int lanes_apart) {
  return make_float2(dev::shfl_xor(x.x, lanes_apart), dev::shfl_xor(x.y, lanes_apart));
}

// fp16 in pairs as they came, bf16 in f32. They start from a pair of the group and not from
// infinities: with those, nvcc 13.0 makes three-way instructions for sm_90a (VHMNMX R, R, -INF,
// -INF, R) that take the constants for zeros on an H100, where pack_test.cpp saw it. A NaN loses;
// where there was nothing else, the extremes are infinite.
template <bool IS_BF16>
struct Extremes {
  using Pair = std::conditional_t<IS_BF16, float2, uint32_t>;
  Pair max, min;

  static DEV_FN Pair pair_of(uint32_t x) {
    if constexpr (IS_BF16) return dev::bf2unpack(x);
    if constexpr (!IS_BF16) return x;
  }
  static DEV_FN float2 numbers(Pair x) {
    if constexpr (IS_BF16) return x;
    if constexpr (!IS_BF16) return dev::h2unpack(x);
  }
  DEV_FN void start(uint32_t x) { max = min = pair_of(x); }
  DEV_FN void add(uint32_t x) {
    max = pair_max(max, pair_of(x));
    min = pair_min(min, pair_of(x));
  }
  DEV_FN void merge(int lanes_apart) {
    max = pair_max(max, pair_from(max, lanes_apart));
    min = pair_min(min, pair_from(min, lanes_apart));
  }
  DEV_FN void merge_rows() {
    DEV_UNROLL
    for (int lanes_apart = 4; lanes_apart < 32; lanes_apart *= 2) merge(lanes_apart);
  }
  DEV_FN float2 highest() const {
    const float start = dev::f32_from_bits(0xff800000u);  // -Inf
    return pair_max(numbers(max), make_float2(start, start));
  }
  DEV_FN float2 lowest() const {
    const float start = dev::f32_from_bits(0x7f800000u);  // +Inf
    return pair_min(numbers(min), make_float2(start, start));
  }
};

}  // namespace kvproof
