// warp_merge.h - the end of a decode block: its warps' states become one partial result.
//
// Every active warp brings its outputs to real units, o 2^(24 - unit) + zero_sum, and to the
// block's maximum, by the factor 2^(own max - block max); then the block adds them in warp order.
// Warps that saw no token are not active and write nothing: parts are dealt in turn and the tail
// goes to the next warp, so the active ones are the first.
#pragma once
#include "query_tile.h"
#include "result.h"
#include "softmax_state.h"

namespace kvproof {

// Row stride of the outputs in shared memory: 4 more puts the eight queries on different banks.
constexpr int merge_stride(int head_size) { return head_size + 4; }
constexpr int merge_bytes(int warps, int head_size) {
  return warps * query_tile_rows * merge_stride(head_size) * static_cast<int>(sizeof(float));
}

// Which query rows a block computes, and where its partial result goes.
struct BlockRows {
  uint32_t request;  // of the table
  uint32_t kv_head;
  uint32_t first;  // query row of the tile's row 0
  int count;       // rows of the tile
  uint32_t split;

  DEV_FN int columns() const { return count > 4 ? 2 : 1; }  // of a lane that are not empty
};

// Brings one warp's sums to the block's maximum and writes them to shared memory, columns 2c and 2c
// + 1 as rows c and c + 4 (row_of_column).
template <bool WIDE, class State>
DEV_FN void store_scaled(const State& state, const float (&block_max)[2],
                         float* outputs /* shared (8, merge_stride), this warp's */,
                         float* sums /* shared (8), this warp's */, int columns, int lane) {
  constexpr int stride = merge_stride(State::v_tiles * 16), tiles = State::group_tiles;
  const int g = lane >> 2, c = lane & 3;
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    if (j >= columns) continue;  // rows that nobody asks for
    const float factor = dev::ex2(dev::sub_rn(state.max[j], block_max[j]));
    const float sum = sum_over_rows(state.sum[j]);
    if (g == 0) sums[c + 4 * j] = dev::mul_rn(factor, sum);
    DEV_UNROLL
    for (int group = 0; group < State::groups; group++) {
      const float zero_sum = sum_over_rows(state.zero_sum[group][j]);
      const float unit = power_of_two(24 - unit_of(state.top[group][j]));
      DEV_UNROLL
      for (int i = group * tiles; i < (group + 1) * tiles; i++) {
        DEV_UNROLL
        for (int half = 0; half < 2; half++) {
          const int channel = 2 * pair_of<WIDE>(i, half, g >> 1) + (g & 1);
          const float o = dev::fma_rn(state.o[i][2 * half + j], unit, zero_sum);
          outputs[(c + 4 * j) * stride + channel] = dev::mul_rn(factor, o);
        }
      }
    }
  }
}

// Called by the whole block. overlay: the ring's shared memory, at least merge_bytes; every copy
// into it has landed and been read. active: warps that saw a token.
template <int WARPS, bool WIDE, class State>
DEV_FN void merge_warps(const State& state, uint8_t* overlay, int active, int warp, int lane,
                        const DecodeArguments& args, const BlockRows& rows) {
  constexpr int channels = State::v_tiles * 16, stride = merge_stride(channels);
  using Rows = float[WARPS * query_tile_rows];
  DEV_SHARED(Rows, warp_max);
  DEV_SHARED(Rows, warp_sum);
  const int g = lane >> 2, c = lane & 3;
  if (g == 0 && warp < active) {
    warp_max[warp * query_tile_rows + c] = state.max[0];
    warp_max[warp * query_tile_rows + c + 4] = state.max[1];
  }
  float* outputs = reinterpret_cast<float*>(overlay);  // (WARPS, 8, merge_stride)
  dev::syncthreads_fresh(overlay, merge_bytes(WARPS, channels));
  if (warp < active) {
    float block_max[2] = {empty_max, empty_max};
    for (int w = 0; w < active; w++) {
      block_max[0] = dev::max_num(block_max[0], warp_max[w * query_tile_rows + c]);
      block_max[1] = dev::max_num(block_max[1], warp_max[w * query_tile_rows + c + 4]);
    }
    store_scaled<WIDE>(state, block_max, outputs + warp * query_tile_rows * stride,
                       warp_sum + warp * query_tile_rows, rows.columns(), lane);
  }
  dev::syncthreads();
  for (int e = warp * 32 + lane; e < rows.count * channels; e += WARPS * 32) {
    const int row = e / channels, channel = e % channels;
    const uint32_t query_row = rows.first + row;
    float o = 0, largest = empty_max, sum = 0;
    DEV_UNROLL
    for (int w = 0; w < WARPS; w++) {
      if (w >= active) continue;  // the same for the whole block
      o = dev::add_rn(o, outputs[(w * query_tile_rows + row) * stride + channel]);
      largest = dev::max_num(largest, warp_max[w * query_tile_rows + row]);
      sum = dev::add_rn(sum, warp_sum[w * query_tile_rows + row]);
    }
    if (args.splits == 1) {
      write_result(args, rows.request, rows.kv_head, query_row, channel, o, sum, largest);
      continue;
    }
    const size_t partial =
        args.partial_index(args.requests.first + rows.request, rows.kv_head, query_row) +
        rows.split;
    args.partial[partial * channels + channel] = o;
    if (channel == 0) args.partial_softmax[partial] = make_float2(largest, sum);
  }
}

}  // namespace kvproof
