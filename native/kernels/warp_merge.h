// warp_merge.h - the end of a decode block: its warps' states become one partial result.
//
// Every active warp brings its outputs to real units, o 2^(24 - unit) + zero_sum, and to the
// block's maximum, by the factor 2^(own max - block max); then the block adds them in warp order.
// Warps that saw no token are not active and write nothing: records are dealt in turn and the
// residual tile goes to the next warp, so the active ones are the first.
#pragma once
#include "decode_arguments.h"
#include "softmax_state.h"

namespace kvproof {

// Row stride of the outputs in shared memory: 128 plus 4 puts the eight queries on different banks.
constexpr int merge_stride = head_size + 4;
constexpr int merge_bytes(int warps) {
  return warps * query_tile_rows * merge_stride * static_cast<int>(sizeof(float));
}

// Where a block's partial result goes.
struct PartialRows {
  float* output;    // global, first of the tile's rows, (query rows, splits, 128), this split
  float2* softmax;  // global, likewise, (query rows, splits): maximum, sum
  int query_rows;
  size_t splits;
};

// Brings one warp's sums to the block's maximum and writes them to shared memory.
template <int GROUPS>
DEV_FN void store_scaled(const SoftmaxState<GROUPS>& state, const float (&block_max)[2],
                         float* outputs /* shared (8, merge_stride), this warp's */,
                         float* sums /* shared (8), this warp's */, int lane) {
  constexpr int tiles = row_tiles / GROUPS;
  const int g = lane >> 2, c = lane & 3;
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    const float factor = dev::ex2(dev::sub_rn(state.max[j], block_max[j]));
    const float sum = sum_over_rows(state.sum[j]);
    if (g == 0) sums[2 * c + j] = dev::mul_rn(factor, sum);
    DEV_UNROLL
    for (int group = 0; group < GROUPS; group++) {
      const float zero_sum = sum_over_rows(state.zero_sum[group][j]);
      const float unit = power_of_two(24 - unit_of(state.top[group][j]));
      float* row = outputs + (2 * c + j) * merge_stride + g;
      DEV_UNROLL
      for (int i = group * tiles; i < (group + 1) * tiles; i++) {
        row[i * 16] = dev::mul_rn(factor, dev::fma_rn(state.o[i][j], unit, zero_sum));
        row[i * 16 + 8] = dev::mul_rn(factor, dev::fma_rn(state.o[i][j + 2], unit, zero_sum));
      }
    }
  }
}

// Called by the whole block. overlay: the ring's shared memory, at least merge_bytes(WARPS); every
// copy into it has landed and been read. active: warps that saw a token.
template <int WARPS, int GROUPS>
DEV_FN void merge_warps(const SoftmaxState<GROUPS>& state, uint8_t* overlay, int active, int warp,
                        int lane, const PartialRows& to) {
  using Rows = float[WARPS * query_tile_rows];
  DEV_SHARED(Rows, warp_max);
  DEV_SHARED(Rows, warp_sum);
  const int g = lane >> 2, c = lane & 3;
  if (g == 0 && warp < active) {
    warp_max[warp * query_tile_rows + 2 * c] = state.max[0];
    warp_max[warp * query_tile_rows + 2 * c + 1] = state.max[1];
  }
  float* outputs = reinterpret_cast<float*>(overlay);  // (WARPS, 8, merge_stride)
  dev::syncthreads_fresh(overlay, merge_bytes(WARPS));
  if (warp < active) {
    float block_max[2] = {empty_max, empty_max};
    for (int w = 0; w < active; w++) {
      block_max[0] = dev::max_num(block_max[0], warp_max[w * query_tile_rows + 2 * c]);
      block_max[1] = dev::max_num(block_max[1], warp_max[w * query_tile_rows + 2 * c + 1]);
    }
    store_scaled(state, block_max, outputs + warp * query_tile_rows * merge_stride,
                 warp_sum + warp * query_tile_rows, lane);
  }
  dev::syncthreads();
  for (int e = warp * 32 + lane; e < to.query_rows * head_size; e += WARPS * 32) {
    const int row = e / head_size, channel = e % head_size;
    float o = 0;
    for (int w = 0; w < active; w++) {
      o = dev::add_rn(o, outputs[(w * query_tile_rows + row) * merge_stride + channel]);
    }
    to.output[row * to.splits * head_size + channel] = o;
    if (channel != 0) continue;
    float largest = empty_max, sum = 0;
    for (int w = 0; w < active; w++) {
      largest = dev::max_num(largest, warp_max[w * query_tile_rows + row]);
      sum = dev::add_rn(sum, warp_sum[w * query_tile_rows + row]);
    }
    to.softmax[row * to.splits] = make_float2(largest, sum);
  }
}

}  // namespace kvproof
