// code_tile.h - the tensor-core products of packed codes with operand B, and the scores of a
// record.
//
// The cache is operand A and stays packed: a code masked out of its word is, as an fp16, the
// subnormal code 2^-24 2^w, which mma multiplies exactly; the field's weight 2^w is in operand B
// already. So dequantising 8 codes costs 5 integer instructions, and scales touch only operand B.
//
// Scores are transposed, S^T = K Q^T: 16 tokens are the rows of an mma and 8 queries its columns.
// In accumulators lane g * 4 + c holds [0], [1]: row g, columns 2c, 2c + 1 and [2], [3]: row g + 8.
#pragma once
#include "query_tile.h"

namespace kvproof {

// acc += (codes of one word) x b[step..]: one column step at 4 bits, two at 2 bits.
template <int BITS>
DEV_FN void mma_word(float (&acc)[4], uint32_t word, const uint32_t (&b)[column_steps][2],
                     int step) {
  const uint32_t upper = word >> 8;
  if constexpr (BITS == 4) {
    dev::mma_f16_f32(acc, word & 0x000f000fu, upper & 0x000f000fu, word & 0x00f000f0u,
                     upper & 0x00f000f0u, b[step][0], b[step][1]);
  } else {
    dev::mma_f16_f32(acc, word & 0x00030003u, upper & 0x00030003u, word & 0x000c000cu,
                     upper & 0x000c000cu, b[step][0], b[step][1]);
    dev::mma_f16_f32(acc, word & 0x00300030u, upper & 0x00300030u, word & 0x00c000c0u,
                     upper & 0x00c000c0u, b[step + 1][0], b[step + 1][1]);
  }
}

// acc (16 rows x 8 queries) += row tile `row_tile` of a packed matrix x b, steps in order.
// words: shared, K words or V words of a record.
template <class R>
DEV_FN void mma_row_tile(float (&acc)[4], const uint4* words, int row_tile, int lane,
                         const uint32_t (&b)[column_steps][2]) {
  DEV_UNROLL
  for (int word = 0; word < R::lane_words; word += 4) {
    const uint4 w = words[word_index<R::bits>(row_tile, word, lane) / 4];
    mma_word<R::bits>(acc, w.x, b, word * R::steps_per_word);
    mma_word<R::bits>(acc, w.y, b, (word + 1) * R::steps_per_word);
    mma_word<R::bits>(acc, w.z, b, (word + 2) * R::steps_per_word);
    mma_word<R::bits>(acc, w.w, b, (word + 3) * R::steps_per_word);
  }
}

// Sums of q-hat times K zeros of one token group for queries 2c and 2c + 1. The zeros are the same
// for all 16 rows of operand A. zeros: shared, 128 fp16 in the order of k_parameter_index.
DEV_FN void zero_scores(float (&sum)[2], const QueryTile& tile, const uint4* zeros, int lane) {
  const int c = lane & 3;
  float acc[4] = {0, 0, 0, 0};
  DEV_UNROLL
  for (int pair = 0; pair < column_steps / 2; pair++) {
    const uint4 z = zeros[c * 4 + pair];
    dev::mma_f16_f32(acc, z.x, z.x, z.y, z.y, tile.q[2 * pair][0], tile.q[2 * pair][1]);
    dev::mma_f16_f32(acc, z.z, z.z, z.w, z.w, tile.q[2 * pair + 1][0], tile.q[2 * pair + 1][1]);
  }
  sum[0] = acc[0];
  sum[1] = acc[1];
}

// s (128 tokens x 8 queries) = base-2 exponents of the softmax weights:
//   S = fma(code sum, code_factor unit, RN(zero sum zero_factor)),
// |S| < 128 65504^2 |k2| whatever the inputs. k_half: shared, K words and parameters of a record.
template <class R>
DEV_FN void record_scores(float (&s)[row_tiles][4], const QueryTile& tile, const uint8_t* k_half,
                          int lane) {
  constexpr int tiles = row_tiles / R::groups;
  const uint4* words = reinterpret_cast<const uint4*>(k_half);
  DEV_UNROLL
  for (int group = 0; group < R::groups; group++) {
    const uint4* parameters = reinterpret_cast<const uint4*>(k_half + R::word_bytes + group * 512);
    uint32_t scaled[column_steps][2];
    const float unit = scale_query_tile<R>(scaled, tile, parameters, lane);
    float zero[2];
    zero_scores(zero, tile, parameters + 16, lane);
    float code_factor[2];
    DEV_UNROLL
    for (int j = 0; j < 2; j++) {
      zero[j] = dev::mul_rn(zero[j], tile.zero_factor[j]);
      code_factor[j] = dev::mul_rn(tile.code_factor[j], unit);
    }
    DEV_UNROLL
    for (int i = group * tiles; i < (group + 1) * tiles; i++) {
      float acc[4] = {0, 0, 0, 0};
      mma_row_tile<R>(acc, words, i, lane, scaled);
      DEV_UNROLL
      for (int j = 0; j < 4; j++) s[i][j] = dev::fma_rn(acc[j], code_factor[j & 1], zero[j & 1]);
    }
  }
}

}  // namespace kvproof
