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

template <bool IS_BF16>
struct Extremes;

// fp16 in pairs, as they came; min x = -max(-x), for -0 and +0 too.
template <>
struct Extremes<false> {
  static constexpr uint32_t signs = 0x80008000u;
  uint32_t max = 0xfc00fc00u, negated = 0xfc00fc00u;  // -Inf

  DEV_FN void add(uint32_t x) {
    max = dev::h2max(max, x);
    negated = dev::h2max(negated, x ^ signs);
  }
  DEV_FN void merge(int lanes_apart) {
    max = dev::h2max(max, dev::shfl_xor(max, lanes_apart));
    negated = dev::h2max(negated, dev::shfl_xor(negated, lanes_apart));
  }
  DEV_FN void merge_rows() {
    max = half2_max_over_rows(max);
    negated = half2_max_over_rows(negated);
  }
  DEV_FN float2 highest() const { return dev::h2unpack(max); }
  DEV_FN float2 lowest() const { return dev::h2unpack(negated ^ signs); }
};

template <>
struct Extremes<true> {
  float max[2] = {dev::f32_from_bits(0xff800000u), dev::f32_from_bits(0xff800000u)};
  float min[2] = {dev::f32_from_bits(0x7f800000u), dev::f32_from_bits(0x7f800000u)};

  DEV_FN void add(uint32_t x) {
    const float2 v = dev::bf2unpack(x);
    max[0] = dev::max_num(max[0], v.x);
    max[1] = dev::max_num(max[1], v.y);
    min[0] = dev::min_num(min[0], v.x);
    min[1] = dev::min_num(min[1], v.y);
  }
  DEV_FN void merge(int lanes_apart) {
    DEV_UNROLL
    for (int h = 0; h < 2; h++) {
      max[h] = dev::max_num(max[h], dev::shfl_xor(max[h], lanes_apart));
      min[h] = dev::min_num(min[h], dev::shfl_xor(min[h], lanes_apart));
    }
  }
  DEV_FN void merge_rows() {
    DEV_UNROLL
    for (int lanes_apart = 4; lanes_apart < 32; lanes_apart *= 2) merge(lanes_apart);
  }
  DEV_FN float2 highest() const { return make_float2(max[0], max[1]); }
  DEV_FN float2 lowest() const { return make_float2(min[0], min[1]); }
};

}  // namespace kvproof
