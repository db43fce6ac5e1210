// quantize_tile.h - what quantize reads: 128 tokens of one head in shared memory, as fragments of
// 16 rows and 16 columns, and the extremes of what a lane has seen of them.
//
// Comparisons are exact in every type; a NaN loses, -0 < +0 (quantize_group.h).
#pragma once
#include "quantize_group.h"
#include "row_reduce.h"

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

// A NaN loses; where there was nothing else, the extremes are what they start from.
DEV_FN float2 number_or_lowest(float2 v) {
  const float start = dev::f32_from_bits(0xff800000u);  // -Inf
  return make_float2(dev::max_num(v.x, start), dev::max_num(v.y, start));
}
DEV_FN float2 number_or_highest(float2 v) {
  const float start = dev::f32_from_bits(0x7f800000u);  // +Inf
  return make_float2(dev::min_num(v.x, start), dev::min_num(v.y, start));
}

template <bool IS_BF16>
struct Extremes;

// fp16 in pairs, as they came. They start from a pair of the group and not from infinities: with
// those, nvcc 13.0 makes three-way instructions for sm_90a (VHMNMX R, R, -INF, -INF, R) that take
// the constants for zeros on an H100, where pack_test.cpp saw it.
template <>
struct Extremes<false> {
  uint32_t max, min;

  DEV_FN void start(uint32_t x) { max = min = x; }
  DEV_FN void add(uint32_t x) {
    max = dev::h2max(max, x);
    min = dev::h2min(min, x);
  }
  DEV_FN void merge(int lanes_apart) {
    max = dev::h2max(max, dev::shfl_xor(max, lanes_apart));
    min = dev::h2min(min, dev::shfl_xor(min, lanes_apart));
  }
  DEV_FN void merge_rows() {
    max = half2_max_over_rows(max);
    min = half2_min_over_rows(min);
  }
  DEV_FN float2 highest() const { return number_or_lowest(dev::h2unpack(max)); }
  DEV_FN float2 lowest() const { return number_or_highest(dev::h2unpack(min)); }
};

template <>
struct Extremes<true> {
  float2 max, min;

  DEV_FN void start(uint32_t x) { max = min = dev::bf2unpack(x); }
  DEV_FN void include(float2 high, float2 low) {
    max = make_float2(dev::max_num(max.x, high.x), dev::max_num(max.y, high.y));
    min = make_float2(dev::min_num(min.x, low.x), dev::min_num(min.y, low.y));
  }
  DEV_FN void add(uint32_t x) { include(dev::bf2unpack(x), dev::bf2unpack(x)); }
  DEV_FN void merge(int lanes_apart) {
    include(make_float2(dev::shfl_xor(max.x, lanes_apart), dev::shfl_xor(max.y, lanes_apart)),
            make_float2(dev::shfl_xor(min.x, lanes_apart), dev::shfl_xor(min.y, lanes_apart)));
  }
  DEV_FN void merge_rows() {
    DEV_UNROLL
    for (int lanes_apart = 4; lanes_apart < 32; lanes_apart *= 2) merge(lanes_apart);
  }
  DEV_FN float2 highest() const { return number_or_lowest(max); }
  DEV_FN float2 lowest() const { return number_or_highest(min); }
};

}  // namespace kvproof
