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

// w = p scale of a channel group for column j; adds p zero to zero_sum and returns the largest w.
// parameters: shared, 128 tokens x (scale, zero) fp16. limit: tokens that the column sees; later
// ones enter as 0, since a weight of 0 times Inf or NaN would not be 0. They are among the last
// eight of the record, because the query tokens are.
DEV_FN float scale_weights(float (&w)[record_tiles][4], float& zero_sum, int j,
                           const float (&p)[record_tiles][4], float decay,
                           const uint32_t* parameters, int limit, int lane) {
  static_assert(query_tokens_max <= 8);
  const int g = lane >> 2;
  float top = 0;
  zero_sum = dev::mul_rn(zero_sum, decay);
  DEV_UNROLL
  for (int i = 0; i < record_tiles; i++) {
    const bool is_unseen = i + 1 == record_tiles && i * 16 + g + 8 >= limit;
    const float2 first = dev::h2unpack(parameters[i * 16 + g]);  // scale x, zero y
    const float2 second = dev::h2unpack(is_unseen ? 0 : parameters[i * 16 + g + 8]);
    w[i][j] = dev::mul_rn(p[i][j], first.x);
    w[i][j + 2] = dev::mul_rn(p[i][j + 2], second.x);
    top = dev::max_num(top, dev::max_num(w[i][j], w[i][j + 2]));
    zero_sum = dev::fma_rn(p[i][j], first.y, zero_sum);
    zero_sum = dev::fma_rn(p[i][j + 2], second.y, zero_sum);
  }
  return max_over_rows(top);
}

// o += V of a record. p: weights from softmax_step, with its decay. v_half: shared, V words and
// parameters. sight: of the record. group_tiles: row tiles of a channel group, a power of two.
// columns: as softmax_step has it.
template <class V, class State>
DEV_FN void accumulate_record(State& state, const float (&p)[record_tiles][4],
                              const float (&decay)[2], const uint8_t* v_half, const Sight& sight,
                              int group_tiles, int columns, int lane) {
  const uint32_t* parameters = reinterpret_cast<const uint32_t*>(v_half + V::bytes);
  uint32_t weights[V::steps][2];  // operand B: P'
  constexpr bool is_grouped = State::groups > 1;
  constexpr int times = rolled<V, is_grouped> ? 1 : State::groups;
  DEV_UNROLL_BY(times)
  for (int group = 0; group < State::groups; group++) {  // that of the turn is in front
    constexpr int tiles = State::group_tiles;
    const int first = group * tiles;
    if (group == 0 || (first & (group_tiles - 1)) == 0) {  // the same for the whole warp
      float w[record_tiles][4], top[2] = {};
      DEV_UNROLL
      for (int j = 0; j < 2; j++) {
        if (j >= columns) {  // the same for the whole block
          DEV_UNROLL
          for (int i = 0; i < record_tiles; i++) w[i][j] = w[i][j + 2] = 0;
          continue;
        }
        const float largest = scale_weights(w, state.zero_sum[0][j], j, p, decay[j], parameters,
                                            sight.limit[j], lane);
        top[j] = dev::max_num(largest, dev::mul_rn(state.top[0][j], decay[j]));
        const int unit = unit_of(top[j]);
        DEV_UNROLL
        for (int at = 0; at < 2 * V::steps; at++) {
          const int i = at / 2, half = at % 2;
          const float factor = power_of_two(unit - V::field_weight_log2(i, half));
          w[i][2 * half + j] = dev::mul_rn(w[i][2 * half + j], factor);
        }
      }
      parameters += record_tokens;
      change_top(state, 0, top, decay, columns);
      DEV_UNROLL
      for (int at = 0; at < 2 * V::steps; at++) {
        const int i = at / 2, half = at % 2;
        weights[i][half] = dev::movmatrix_trans(dev::h2pack(w[i][2 * half], w[i][2 * half + 1]));
      }
    } else {  // a part of the group before
      constexpr int last = State::groups - 1;
      const float top[2] = {state.top[last][0], state.top[last][1]};
      change_top(state, 0, top, decay, columns);
      DEV_UNROLL
      for (int j = 0; j < 2; j++) state.zero_sum[0][j] = state.zero_sum[last][j];
    }
    constexpr int step = chains<V, is_grouped>;
    DEV_UNROLL
    for (int i = 0; i < tiles; i += step) {
      mma_row_tiles<V, step>(state.o, i, v_half, first + i, weights, lane);
    }
    if constexpr (is_grouped) {
      turn<tiles>(state.o);
      turn<1>(state.zero_sum);
      turn<1>(state.top);
    }
  }
}

}  // namespace kvproof
