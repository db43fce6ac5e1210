// half_tile.h - tokens whose K and V are 16-bit numbers as they came: the last 0 to 127 tokens of a
// request, straight from global memory, and the records of the fp16 format, from shared memory.
//
// K rows are operand A of the scores as they lie; V is transposed by movmatrix. Rows past the last
// token are never loaded: they may hold anything, NaN included, and enter as 0 with weight exactly
// 0, because their score is -Inf (mask_scores).
//
// fp16  S = RN((K q-hat) k2 2^shift), P' = RN16(p 2^15) <= 2^15: a weight is off by 2^-11 of itself
//       or 2^-40. The outputs are in the fixed unit 39 = 24 + 15, in which o stands for o 2^-15.
// bf16  S = RN((K q) k2), p = RNbf(p) + RNbf(p - RNbf(p)): off by 2^-16 of itself. Unit 24: o
//       stands for itself.
//
// WIDE: a lane reads 16 bytes of a row, and channels are permuted in queries and outputs alike
// (pair_of); in shared memory that is two wavefronts for 512 bytes where 4 bytes a lane take eight
// for 128. Else channels are in the order of packed records, with which the tail shares its
// outputs; top no longer means a scale then, so the tail comes last.
#pragma once
#include "query_tile.h"
#include "softmax_state.h"

namespace kvproof {

// unit_of(half_top) is the fixed unit.
constexpr float half_top(bool is_bf16) { return is_bf16 ? 0x1p-10f : 0x1p-25f; }

template <bool BF16>
DEV_FN void mma_half(float (&acc)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                     uint32_t b0, uint32_t b1) {
  if constexpr (BF16) {
    dev::mma_bf16_f32(acc, a0, a1, a2, a3, b0, b1);
  } else {
    dev::mma_f16_f32(acc, a0, a1, a2, a3, b0, b1);
  }
}

// Rows of one head: 16-bit elements, row_stride of them from one token to the next.
struct HalfRows {
  const uint16_t* first;
  size_t row_stride;
  int tokens;
};

// Pairs 0, 1 of step `step` and of the one after it, of one row; 0 from rows.tokens on.
template <bool WIDE>
DEV_FN void load_pairs(uint32_t (&x)[4], const HalfRows& rows, int row, int step, int lane) {
  const int c = lane & 3;
  const uint32_t* from = reinterpret_cast<const uint32_t*>(rows.first + row * rows.row_stride);
  uint4 all = make_uint4(0, 0, 0, 0);
  if (row < rows.tokens) {
    if constexpr (WIDE) {
      all = *reinterpret_cast<const uint4*>(from + pair_of<true>(step, 0, c));
    } else {
      all = make_uint4(from[pair_of<false>(step, 0, c)], from[pair_of<false>(step, 1, c)],
                       from[pair_of<false>(step + 1, 0, c)], from[pair_of<false>(step + 1, 1, c)]);
    }
  }
  x[0] = all.x;
  x[1] = all.y;
  x[2] = all.z;
  x[3] = all.w;
}

// Sums of K times q for 16 TILES tokens.
template <bool WIDE, bool BF16, int TILES, int STEPS>
DEV_FN void half_products(float (&s)[TILES][4], const uint32_t (&q)[STEPS][2], const HalfRows& rows,
                          int lane) {
  const int g = lane >> 2;
  DEV_UNROLL
  for (int i = 0; i < TILES; i++) {
    s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0;
    if (i * 16 >= rows.tokens) continue;  // the same for the whole warp
    DEV_UNROLL
    for (int step = 0; step < STEPS; step += 2) {
      uint32_t first[4], second[4];
      load_pairs<WIDE>(first, rows, i * 16 + g, step, lane);
      load_pairs<WIDE>(second, rows, i * 16 + g + 8, step, lane);
      mma_half<BF16>(s[i], first[0], second[0], first[1], second[1], q[step][0], q[step][1]);
      mma_half<BF16>(s[i], first[2], second[2], first[3], second[3], q[step + 1][0],
                     q[step + 1][1]);
    }
  }
}

// s = base-2 exponents of 16 TILES tokens.
template <bool WIDE, int TILES, int STEPS>
DEV_FN void half_scores(float (&s)[TILES][4], const QueryTile<STEPS>& tile, bool is_bf16,
                        const HalfRows& rows, int lane) {
  if (is_bf16) {
    half_products<WIDE, true>(s, tile.q, rows, lane);
  } else {
    half_products<WIDE, false>(s, tile.q, rows, lane);
  }
  DEV_UNROLL
  for (int at = 0; at < 4 * TILES; at++) {
    s[at / 4][at % 4] = dev::mul_rn(s[at / 4][at % 4], tile.zero_factor[at & 1]);
  }
}

// The query for half_scores, from its raw words: q-hat in fp16, q itself in bf16.
template <int STEPS>
DEV_FN void scale_half_query(QueryTile<STEPS>& tile, bool is_bf16, float k2) {
  if (!is_bf16) return scale_query_words(tile, false, k2);
  tile.zero_factor[0] = tile.zero_factor[1] = k2;
}

// Weights of a step as operand B: rounded to fp16, or to bf16 with the rest in bf16 again.
template <bool BF16>
using HalfWeights = uint32_t[BF16 ? 2 : 1][2];

// o[0], o[1] += tiles i and i + 1 of V^T, 16 channels each, times the weights of a step.
template <bool WIDE, bool BF16>
DEV_FN void add_values(float (&o0)[4], float (&o1)[4], const HalfRows& rows, int step, int i,
                       const HalfWeights<BF16>& w, int lane) {
  const int g = lane >> 2;
  uint32_t first[4], second[4];
  load_pairs<WIDE>(first, rows, step * 16 + g, i, lane);
  load_pairs<WIDE>(second, rows, step * 16 + g + 8, i, lane);
  DEV_UNROLL
  for (int k = 0; k < 4; k++) {
    first[k] = dev::movmatrix_trans(first[k]);
    second[k] = dev::movmatrix_trans(second[k]);
  }
  DEV_UNROLL
  for (int k = 0; k < 2; k++) {
    float(&o)[4] = k == 0 ? o0 : o1;
    DEV_UNROLL
    for (const auto& of_part : w) {
      mma_half<BF16>(o, first[2 * k], first[2 * k + 1], second[2 * k], second[2 * k + 1],
                     of_part[0], of_part[1]);
    }
  }
}

// The same for a step of which some rows see less than others: V is operand A, which all rows
// share, and a weight of 0 times NaN is NaN. So each row takes the products in which V ends where
// it sees no further.
template <bool WIDE, bool BF16, class State>
DEV_FN void add_seen_values(State& state, HalfRows rows, int step, const HalfWeights<BF16>& w,
                            const Sight& sight, int lane) {
  const int end = rows.tokens < step * 16 + 16 ? rows.tokens : step * 16 + 16;
  for (int seen = sight.all > step * 16 ? sight.all : step * 16 + 1; seen <= end; seen++) {
    rows.tokens = seen;
    DEV_UNROLL
    for (int i = 0; i < State::v_tiles; i += 2) {
      float o[2][4];
      DEV_UNROLL
      for (int j = 0; j < 8; j++) o[j >> 2][j & 3] = state.o[i + (j >> 2)][j & 3];
      add_values<WIDE, BF16>(o[0], o[1], rows, step, i, w, lane);
      DEV_UNROLL
      for (int j = 0; j < 8; j++) {
        const int limit = sight.limit[j & 1];
        if ((limit < end ? limit : end) == seen) state.o[i + (j >> 2)][j & 3] = o[j >> 2][j & 3];
      }
    }
  }
}

// o += P V of 16 TILES tokens in the fixed unit. p: weights.
template <bool WIDE, bool BF16, class State, int TILES>
DEV_FN void half_outputs(State& state, const float (&p)[TILES][4], const HalfRows& rows,
                         const Sight& sight, int lane) {
  DEV_UNROLL
  for (int step = 0; step < TILES; step++) {
    if (step * 16 >= rows.tokens) continue;  // the same for the whole warp
    HalfWeights<BF16> w;
    DEV_UNROLL
    for (int half = 0; half < 2; half++) {
      const float x = p[step][2 * half], y = p[step][2 * half + 1];
      if constexpr (BF16) {
        const uint32_t rounded = dev::bf2pack(x, y);
        const float2 taken = dev::bf2unpack(rounded);
        w[0][half] = dev::movmatrix_trans(rounded);
        w[1][half] =
            dev::movmatrix_trans(dev::bf2pack(dev::sub_rn(x, taken.x), dev::sub_rn(y, taken.y)));
      } else {
        w[0][half] =
            dev::movmatrix_trans(dev::h2pack(dev::mul_rn(x, 0x1p15f), dev::mul_rn(y, 0x1p15f)));
      }
    }
    if (sight.all < rows.tokens && sight.all < step * 16 + 16) {  // the same for the whole warp
      add_seen_values<WIDE, BF16>(state, rows, step, w, sight, lane);
      continue;
    }
    DEV_UNROLL
    for (int i = 0; i < State::v_tiles; i += 2) {
      add_values<WIDE, BF16>(state.o[i], state.o[i + 1], rows, step, i, w, lane);
    }
  }
}

// o += P V of 16 TILES tokens. p: weights from softmax_step, with its decay. sight: of them.
template <bool WIDE, class State, int TILES>
DEV_FN void accumulate_half(State& state, const float (&p)[TILES][4], const float (&decay)[2],
                            int columns, bool is_bf16, const HalfRows& rows, const Sight& sight,
                            int lane) {
  const float top[2] = {half_top(is_bf16), half_top(is_bf16)};
  DEV_UNROLL
  for (int group = 0; group < State::groups; group++) {
    DEV_UNROLL
    for (int j = 0; j < 2; j++) {
      state.zero_sum[group][j] = dev::mul_rn(state.zero_sum[group][j], decay[j]);
    }
    change_top(state, group, top, decay, columns);
  }
  if (is_bf16) {
    half_outputs<WIDE, true>(state, p, rows, sight, lane);
  } else {
    half_outputs<WIDE, false>(state, p, rows, sight, lane);
  }
}

}  // namespace kvproof
