// output_tile.h - weights times V for one record: O^T = V^T P^T on packed codes.
//
// For each channel group: w = RN(p scale) for each token and query, its maximum decides the unit
// (softmax_state.h), and operand B is P' = RN16(w 2^(unit - weight)) < 2^15, moved from accumulator
// layout (tokens x queries) to operand layout by movmatrix. Zeros never meet the tensor core: their
// part is the same for all channels of a group, one f32 sum for each query.
#pragma once
#include "code_tile.h"
#include "softmax_state.h"

namespace kvproof {

// w = p scale of a channel group; adds p zero to zero_sum and returns the largest w in top.
// parameters: shared, 128 tokens x (scale, zero) fp16.
template <int GROUPS>
DEV_FN void scale_weights(float (&w)[row_tiles][4], float (&top)[2], SoftmaxState<GROUPS>& state,
                          int group, const float (&p)[row_tiles][4], const float (&decay)[2],
                          const uint32_t* parameters, int lane) {
  const int g = lane >> 2;
  float zero_sum[2];
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    zero_sum[j] = dev::mul_rn(state.zero_sum[group][j], decay[j]);
    top[j] = 0;
  }
  DEV_UNROLL
  for (int i = 0; i < row_tiles; i++) {
    const float2 first = dev::h2unpack(parameters[i * 16 + g]);  // scale x, zero y
    const float2 second = dev::h2unpack(parameters[i * 16 + g + 8]);
    DEV_UNROLL
    for (int j = 0; j < 2; j++) {
      w[i][j] = dev::mul_rn(p[i][j], first.x);
      w[i][j + 2] = dev::mul_rn(p[i][j + 2], second.x);
      top[j] = dev::max_num(top[j], dev::max_num(w[i][j], w[i][j + 2]));
      zero_sum[j] = dev::fma_rn(p[i][j], first.y, zero_sum[j]);
      zero_sum[j] = dev::fma_rn(p[i][j + 2], second.y, zero_sum[j]);
    }
  }
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    state.zero_sum[group][j] = zero_sum[j];
    top[j] = max_over_rows(top[j]);
  }
}

// o += V of a record. p: weights from softmax_step, with its decay. v_half: shared, V words and
// parameters.
template <class R>
DEV_FN void accumulate_record(SoftmaxState<R::groups>& state, const float (&p)[row_tiles][4],
                              const float (&decay)[2], const uint8_t* v_half, int lane) {
  constexpr int tiles = row_tiles / R::groups;
  const uint4* words = reinterpret_cast<const uint4*>(v_half);
  const uint32_t* parameters = reinterpret_cast<const uint32_t*>(v_half + R::word_bytes);
  DEV_UNROLL
  for (int group = 0; group < R::groups; group++) {
    float w[row_tiles][4], top[2];
    scale_weights(w, top, state, group, p, decay, parameters + group * record_tokens, lane);
    int unit[2];
    DEV_UNROLL
    for (int j = 0; j < 2; j++) {
      top[j] = dev::max_num(top[j], dev::mul_rn(state.top[group][j], decay[j]));
      unit[j] = unit_of(top[j]);
    }
    change_top(state, group, top, decay);
    uint32_t weights[column_steps][2];  // operand B: P'
    DEV_UNROLL
    for (int i = 0; i < column_steps; i++) {
      DEV_UNROLL
      for (int half = 0; half < 2; half++) {
        const int field = field_weight_log2<R::bits>(i, half);
        weights[i][half] = dev::movmatrix_trans(
            dev::h2pack(dev::mul_rn(w[i][2 * half], power_of_two(unit[0] - field)),
                        dev::mul_rn(w[i][2 * half + 1], power_of_two(unit[1] - field))));
      }
    }
    DEV_UNROLL
    for (int i = group * tiles; i < (group + 1) * tiles; i++) {
      mma_row_tile<R>(state.o[i], words, i, lane, weights);
    }
  }
}

}  // namespace kvproof
