// residual_tile.h - the last 0 to 127 tokens of a request, which stay in fp16 until a record is
// full.
//
// K rows are operand A of the scores as they lie in memory; V is transposed by movmatrix. Both come
// straight from global memory, once. Rows past the tail are never loaded: they may hold anything,
// NaN included, and enter as 0 with weight exactly 0: their score is -Inf, below even the maximum
// of no token, so that they weigh nothing where every real score is -Inf too.
//
// The outputs are brought to the fixed unit 39 = 24 + 15 first, in which o stands for o 2^-15, and
// operand B is P' = RN16(p 2^15) <= 2^15: a weight is off by 2^-11 of itself or 2^-40. top no
// longer means a scale then, so this tile comes last.
#pragma once
#include "code_tile.h"
#include "softmax_state.h"

namespace kvproof {

constexpr float residual_top = 0x1p-25f;  // unit_of(residual_top) = 39

// s (128 tokens x 8 queries), -Inf for tokens from `tokens` on: S = RN((K q-hat) zero_factor).
// k: global, (tokens, 128) fp16 with row_stride elements from one token to the next.
DEV_FN void residual_scores(float (&s)[row_tiles][4], const QueryTile& tile, const uint16_t* k,
                            size_t row_stride, int tokens, int lane) {
  const int g = lane >> 2, c = lane & 3;
  const float masked = dev::f32_from_bits(0xff800000u);
  DEV_UNROLL
  for (int i = 0; i < row_tiles; i++) {
    const int first = i * 16 + g, second = first + 8;
    float acc[4] = {0, 0, 0, 0};
    if (i * 16 < tokens) {  // the same for the whole warp
      const uint32_t* row0 = reinterpret_cast<const uint32_t*>(k + first * row_stride);
      const uint32_t* row1 = reinterpret_cast<const uint32_t*>(k + second * row_stride);
      DEV_UNROLL
      for (int step = 0; step < column_steps; step++) {
        const int pair = step * 8 + c;  // channels 2 pair, 2 pair + 1; + 4: eight channels further
        dev::mma_f16_f32(acc, first < tokens ? row0[pair] : 0, second < tokens ? row1[pair] : 0,
                         first < tokens ? row0[pair + 4] : 0, second < tokens ? row1[pair + 4] : 0,
                         tile.q[step][0], tile.q[step][1]);
      }
    }
    DEV_UNROLL
    for (int j = 0; j < 2; j++) {
      s[i][j] = first < tokens ? dev::mul_rn(acc[j], tile.zero_factor[j]) : masked;
      s[i][j + 2] = second < tokens ? dev::mul_rn(acc[j + 2], tile.zero_factor[j]) : masked;
    }
  }
}

// o += P V of the tail. p: weights from softmax_step, with its decay. v: as k above.
template <int GROUPS>
DEV_FN void accumulate_residual(SoftmaxState<GROUPS>& state, const float (&p)[row_tiles][4],
                                const float (&decay)[2], const uint16_t* v, size_t row_stride,
                                int tokens, int lane) {
  const int g = lane >> 2, c = lane & 3;
  const float top[2] = {residual_top, residual_top};
  DEV_UNROLL
  for (int group = 0; group < GROUPS; group++) {
    DEV_UNROLL
    for (int j = 0; j < 2; j++) {
      state.zero_sum[group][j] = dev::mul_rn(state.zero_sum[group][j], decay[j]);
    }
    change_top(state, group, top, decay);
  }
  DEV_UNROLL
  for (int step = 0; step < column_steps; step++) {
    if (step * 16 < tokens) {  // the same for the whole warp
      const int first = step * 16 + g, second = first + 8;
      const uint32_t* row0 = reinterpret_cast<const uint32_t*>(v + first * row_stride);
      const uint32_t* row1 = reinterpret_cast<const uint32_t*>(v + second * row_stride);
      uint32_t weights[2];
      DEV_UNROLL
      for (int half = 0; half < 2; half++) {
        weights[half] = dev::movmatrix_trans(dev::h2pack(
            dev::mul_rn(p[step][2 * half], 0x1p15f), dev::mul_rn(p[step][2 * half + 1], 0x1p15f)));
      }
      DEV_UNROLL
      for (int i = 0; i < row_tiles; i++) {
        const int pair = i * 8 + c;
        const uint32_t a0 = dev::movmatrix_trans(first < tokens ? row0[pair] : 0);
        const uint32_t a1 = dev::movmatrix_trans(first < tokens ? row0[pair + 4] : 0);
        const uint32_t a2 = dev::movmatrix_trans(second < tokens ? row1[pair] : 0);
        const uint32_t a3 = dev::movmatrix_trans(second < tokens ? row1[pair + 4] : 0);
        dev::mma_f16_f32(state.o[i], a0, a1, a2, a3, weights[0], weights[1]);
      }
    }
  }
}

}  // namespace kvproof
