// code_tile.h - the tensor-core products of packed codes with operand B, and the scores of a
// record.
//
// The cache is operand A and stays packed: a code masked out of its word is, as an fp16, the
// subnormal code 2^-24 2^w, which mma multiplies exactly; the field's weight 2^w is in operand B
// already. So dequantising 8 codes costs 5 or 6 integer instructions, and scales touch only operand
// B (K per channel) or sums (K per token).
//
// Scores are transposed, S^T = K Q^T: 16 tokens are the rows of an mma and 8 queries its columns.
// In accumulators lane g * 4 + c holds [0], [1]: row g, columns 2c, 2c + 1 and [2], [3]: row g + 8.
#pragma once
#include "query_tile.h"

namespace kvproof {

constexpr int record_tiles = record_tokens / 16;

// The words of a row tile that this lane feeds to the tensor core. words: shared.
template <class M>
DEV_FN void load_row_tile(uint32_t (&w)[M::lane_words], const uint8_t* words, int tile, int lane) {
  DEV_UNROLL
  for (int word = 0; word < M::lane_words; word += M::unit_words) {
    const uint8_t* unit = words + 4 * lane_word_index(M::lane_words, tile, word, lane);
    if constexpr (M::unit_words == 4) {
      const uint4 x = *reinterpret_cast<const uint4*>(unit);
      w[word] = x.x;
      w[word + 1] = x.y;
      w[word + 2] = x.z;
      w[word + 3] = x.w;
    } else {
      const uint2 x = *reinterpret_cast<const uint2*>(unit);
      w[word] = x.x;
      w[word + 1] = x.y;
    }
  }
}

// acc += (codes of steps 2 pair and 2 pair + 1) x b.
template <class M>
DEV_FN void mma_step_pair(float (&acc)[4], const uint32_t (&w)[M::lane_words],
                          const uint32_t (&b)[M::steps][2], int pair) {
  const int step = 2 * pair;
  if constexpr (M::bits == 2) {
    const uint32_t lower = w[pair], upper = w[pair] >> 8;
    dev::mma_f16_f32(acc, lower & 0x00030003u, upper & 0x00030003u, lower & 0x000c000cu,
                     upper & 0x000c000cu, b[step][0], b[step][1]);
    dev::mma_f16_f32(acc, lower & 0x00300030u, upper & 0x00300030u, lower & 0x00c000c0u,
                     upper & 0x00c000c0u, b[step + 1][0], b[step + 1][1]);
  } else if constexpr (M::bits == 4) {
    DEV_UNROLL
    for (int i = 0; i < 2; i++) {
      const uint32_t lower = w[step + i], upper = lower >> 8;
      dev::mma_f16_f32(acc, lower & 0x000f000fu, upper & 0x000f000fu, lower & 0x00f000f0u,
                       upper & 0x00f000f0u, b[step + i][0], b[step + i][1]);
    }
  } else {
    DEV_UNROLL
    for (int i = 0; i < 2; i++) {
      const uint32_t first = w[2 * (step + i)], second = w[2 * (step + i) + 1];
      dev::mma_f16_f32(acc, first & 0x00ff00ffu, first >> 8 & 0x00ff00ffu, second & 0x00ff00ffu,
                       second >> 8 & 0x00ff00ffu, b[step + i][0], b[step + i][1]);
    }
  }
}

// Brings entry BY of a register array to the front. Register arrays have constant indexes: a loop
// that is to stay a loop works on the front and turns the array, which costs moves and saves code.
// Where it is unrolled it costs nothing.
template <int BY, int N, int M>
DEV_FN void turn(float (&x)[N][M]) {
  float front[BY][M];
  DEV_UNROLL
  for (int i = 0; i < N + BY; i++) {
    DEV_UNROLL
    for (int j = 0; j < M; j++) {
      if (i < BY) front[i][j] = x[i][j];
      if (i >= BY) x[i - BY][j] = i < N ? x[i][j] : front[i - N][j];
    }
  }
}

// acc[first + t] += row tile tile + t, t < TILES, of a packed matrix x b, steps in order: as many
// chains of sums, so that some run while others wait.
template <class M, int TILES, int ALL>
DEV_FN void mma_row_tiles(float (&acc)[ALL][4], int first, const uint8_t* words, int tile,
                          const uint32_t (&b)[M::steps][2], int lane) {
  uint32_t w[TILES][M::lane_words];
  DEV_UNROLL
  for (int t = 0; t < TILES; t++) load_row_tile<M>(w[t], words, tile + t, lane);
  DEV_UNROLL
  for (int pair = 0; pair < M::steps / 2; pair++) {
    DEV_UNROLL
    for (int t = 0; t < TILES; t++) mma_step_pair<M>(acc[first + t], w[t], b, pair);
  }
}

// Row tiles of M that are summed at once: as many as leave registers for everything else.
template <class M, bool GROUPED>
constexpr int chains = M::rows* M::columns > 128 * 128 ? (GROUPED || M::bits == 8 ? 1 : 2)
                       : GROUPED || M::lane_words > 8  ? 2
                                                       : 4;

// Whether loops over groups stay loops (turn): from 8 KiB of words on, where an H100 fetches the
// unrolled code more slowly than it moves registers.
template <class M, bool GROUPED>
constexpr bool rolled = GROUPED&& M::bytes >= 8192;

// Sums of q (q-hat) times K zeros of one token group for queries 2c and 2c + 1. The zeros are the
// same for all 16 rows of operand A. zeros: shared, fp16 in the order of k_parameter_index.
template <class K>
DEV_FN void zero_scores(float (&acc)[4], const uint32_t (&q)[K::steps][2], const uint4* zeros,
                        int lane) {
  acc[0] = acc[1] = acc[2] = acc[3] = 0;
  DEV_UNROLL
  for (int pair = 0; pair < K::steps / 2; pair++) {
    const uint4 z = zeros[(lane & 3) * (K::steps / 2) + pair];
    dev::mma_f16_f32(acc, z.x, z.x, z.y, z.y, q[2 * pair][0], q[2 * pair][1]);
    dev::mma_f16_f32(acc, z.z, z.z, z.w, z.w, q[2 * pair + 1][0], q[2 * pair + 1][1]);
  }
}

// s (128 tokens x 8 queries) = base-2 exponents of the softmax weights, K per channel:
//   S = fma(code sum, code_factor unit, RN(zero sum zero_factor)),
// |S| < 128 65504^2 |k2| whatever the inputs in fp16. tile: its factors; query: its q-hat,
// InRegisters of the tile or shared (store_query). k_half: shared, K words and parameters of a
// record. group_tiles: row tiles of a token group, a power of two.
template <class K, bool GROUPED, class Query>
DEV_FN void channel_scores(float (&s)[record_tiles][4], const QueryTile<K::steps>& tile,
                           Query query, const uint8_t* k_half, int group_tiles, int lane) {
  constexpr int scale_bytes = K::columns * 2;
  const uint8_t* parameters = k_half + K::bytes;
  uint32_t scaled[K::steps][2];
  float zero[4], code_factor[2];
  constexpr int tiles = chains<K, GROUPED>;
  constexpr int times = rolled<K, GROUPED> ? 1 : record_tiles / tiles;
  DEV_UNROLL_BY(times)
  for (int i = 0; i < record_tiles; i += tiles) {               // those of the turn are in front
    if (i == 0 || (GROUPED && (i & (group_tiles - 1)) == 0)) {  // the same for the whole warp
      uint32_t q[K::steps][2];
      load_query(q, tile, query, lane);
      const float unit = scale_query_tile<K>(scaled, q, tile.top,
                                             reinterpret_cast<const uint4*>(parameters), lane);
      zero_scores<K>(zero, q, reinterpret_cast<const uint4*>(parameters + scale_bytes), lane);
      DEV_UNROLL
      for (int j = 0; j < 2; j++) {
        zero[j] = dev::mul_rn(zero[j], tile.zero_factor[j]);
        code_factor[j] = dev::mul_rn(tile.code_factor[j], unit);
      }
      parameters += 2 * scale_bytes;
    }
    DEV_UNROLL
    for (int at = 0; at < 4 * tiles; at++) s[at / 4][at % 4] = 0;
    mma_row_tiles<K, tiles>(s, 0, k_half, i, scaled, lane);
    DEV_UNROLL
    for (int at = 0; at < 4 * tiles; at++) {
      s[at / 4][at % 4] = dev::fma_rn(s[at / 4][at % 4], code_factor[at & 1], zero[at & 1]);
    }
    turn<tiles>(s);
  }
}

// The same for K per token, over channel groups G in order, in units of q-hat 2^-24:
//   S = RN(factor sum over G of fma(code sum_G, scale_G, RN(zero_G q sum_G))).
// query: the same, of weigh_fields; sums: shared, of store_query_sums; mixed: of
// find_mixed_groups. group_pairs: half the column steps of a group, a power of two.
template <class K, bool GROUPED, class Query>
DEV_FN void token_scores(float (&s)[record_tiles][4], const QueryTile<K::steps>& tile, Query query,
                         const uint8_t* k_half, const float* sums, const uint32_t (&mixed)[2],
                         int group_pairs, int lane) {
  constexpr int pairs = K::steps / 2;
  const int g = lane >> 2, c = lane & 3;
  uint32_t q[K::steps][2];
  load_query(q, tile, query, lane);
  constexpr int times = rolled<K, GROUPED> ? 2 : record_tiles;
  DEV_UNROLL_BY(times)
  for (int i = 0; i < record_tiles; i++) {  // that of the turn is in front
    // Scale and zero of tokens 16 i + g and 8 further.
    const uint32_t* parameters = reinterpret_cast<const uint32_t*>(k_half + K::bytes) + i * 16 + g;
    const float2* query_sums = reinterpret_cast<const float2*>(sums) + c;
    uint32_t w[K::lane_words];
    load_row_tile<K>(w, k_half, i, lane);
    float acc[4] = {0, 0, 0, 0};
    uint32_t group = 1;  // its bit in mixed
    DEV_UNROLL
    for (int pair = 0; pair < pairs; pair++) {
      mma_step_pair<K>(acc, w, q, pair);
      const bool group_ends = GROUPED ? ((pair + 1) & (group_pairs - 1)) == 0 : pair + 1 == pairs;
      if (!group_ends) continue;  // the same for the whole warp
      const float2 row[2] = {dev::h2unpack(parameters[0]), dev::h2unpack(parameters[8])};
      const float2 q_sum = *query_sums;
      const bool first = !GROUPED || pair < group_pairs;
      DEV_UNROLL
      for (int j = 0; j < 4; j++) {
        // 0, or NaN: a code of 0 times an infinite scale, or an infinite zero (find_mixed_groups).
        const float of_scale = dev::mul_rn(row[j >> 1].x, 0);
        const float of_zero = dev::fma_rn(row[j >> 1].y, 0, of_scale);
        const float lost = (mixed[j & 1] & group) != 0 ? of_zero : of_scale;
        const float zero = dev::fma_rn(row[j >> 1].y, j & 1 ? q_sum.y : q_sum.x, lost);
        const float of_group = dev::fma_rn(acc[j], row[j >> 1].x, zero);
        s[0][j] = first ? of_group : dev::add_rn(s[0][j], of_group);
        acc[j] = 0;
      }
      parameters += record_tokens;
      query_sums += query_tile_rows / 2;
      group <<= 1;
    }
    DEV_UNROLL
    for (int j = 0; j < 4; j++) {
      s[0][j] = dev::mul_rn(s[0][j], dev::mul_rn(tile.zero_factor[j & 1], 0x1p24f));
    }
    turn<1>(s);
  }
}

}  // namespace kvproof
