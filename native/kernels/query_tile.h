// query_tile.h - eight query rows of one KV head as operand B of the score products, scaled so that
// fp16 neither overflows nor loses bits; for K per channel, multiplied by the K scales of a record.
//
// A query row is one head of one query token. q-hat = q 2^-shift in fp16, exact for fp16:
//   fp16  shift <= 0: a row is only ever scaled up. Its largest element is in [2^14, 2^15); a row
//         that reaches 2^15 by itself keeps shift = 0.
//   bf16  the largest is in [2^14, 2^15) unless it is below 2^-112; what lies 2^-24 below the
//         largest is rounded to the fp16 subnormals.
// A zero row stays zero.
//
// K per channel, for a group of tokens with K scales s_d (largest scale: s, in [2^e, 2^(e+1)), e in
// -24..15):
//   q' = RN16(RN16(q-hat_d s_d m) 2^-w),   m = 2^(14 - top - e),
// top the exponent of the row's largest q-hat (14 or 15) and w the weight of the code's field in
// its word (record.h). q-hat_d s_d m < 2^16 for every fp16 input and rounds to at most 65,472, so
// nothing overflows; what falls below the fp16 subnormals is at most 2^-25 2^w of the units in
// which the largest possible product is 2^14 or more. s_d m is exact where the fast path is taken
// (m >= 1), so both paths give the same bits and no row depends on its neighbours.
//
// K per token: operand B is RN16(q-hat 2^-w), the same for every record.
#pragma once
#include "decode_arguments.h"

namespace kvproof {

// fp16 2^e for e in -14..15, in both halves of a word.
DEV_FN uint32_t half2_power_of_two(int e) {
  return static_cast<uint32_t>(e + 15) << 10 | static_cast<uint32_t>(e + 15) << 26;
}

// Which pair of channels is element pair c of columns 8 half .. 8 half + 7 of a step. Packed
// records have them in their order; where rows are read 16 bytes a lane (half_tile.h), lane c gets
// four pairs in a row, and queries and outputs are permuted alike.
template <bool WIDE>
constexpr int pair_of(int step, int half, int c) {
  const int eighth = 2 * step + half;
  return WIDE ? eighth / 4 * 16 + c * 4 + eighth % 4 : eighth * 4 + c;
}

// Query row of column n of operand B and of accumulators. Rows 0 to 3 are in the even columns, so
// that a tile of up to four rows has nothing to do for the odd ones: index j = 1 of every lane.
constexpr int row_of_column(int n) { return (n >> 1) + (n & 1) * 4; }

template <int STEPS>
struct QueryTile {
  // Operand B: lane g * 4 + c holds pair_of(step, i, c) of column g in q[step][i].
  uint32_t q[STEPS][2];  // fp16 pairs
  int top;               // exponent of the largest q-hat of column g: 14, or 15
  // What turns sums into base-2 exponents, for columns 2c and 2c + 1 of the accumulators:
  float zero_factor[2];  // k2 2^shift: of sums of q-hat times K (or zeros)
  float code_factor[2];  // k2 2^(shift + top): of sums of q' times codes, with score_unit()
};

// The raw words of column g. row: its query row, or null where the tile has fewer: 0.
template <bool WIDE, int STEPS>
DEV_FN void load_query_words(uint32_t (&q)[STEPS][2], const uint16_t* row, int lane) {
  const uint32_t* words = reinterpret_cast<const uint32_t*>(row);
  DEV_UNROLL
  for (int at = 0; at < 2 * STEPS; at++) {
    q[at / 2][at % 2] = row != nullptr ? words[pair_of<WIDE>(at / 2, at % 2, lane & 3)] : 0;
  }
}

// q-hat of eight rows, from their raw words. k2 = softmax_scale log2(e).
template <int STEPS>
DEV_FN void scale_query_words(QueryTile<STEPS>& tile, bool is_bf16, float k2) {
  float row_max = 0;
  DEV_UNROLL
  for (int at = 0; at < 2 * STEPS; at++) {
    const int step = at / 2, i = at % 2;
    const float2 pair = unpack_pair(tile.q[step][i] & 0x7fff7fffu, is_bf16);
    row_max = dev::max_num(row_max, dev::max_num(pair.x, pair.y));
  }
  row_max = dev::max_num(row_max, dev::shfl_xor(row_max, 1));
  row_max = dev::max_num(row_max, dev::shfl_xor(row_max, 2));
  const int e = clamp_int(exponent_of(row_max), is_bf16 ? -112 : -24, is_bf16 ? 127 : 15);
  const int shift = is_bf16 || e < 14 ? e - 14 : 0;
  const float up = power_of_two(-shift);
  DEV_UNROLL
  for (int at = 0; at < 2 * STEPS; at++) {
    const int step = at / 2, i = at % 2;
    const float2 q = unpack_pair(tile.q[step][i], is_bf16);
    tile.q[step][i] = dev::h2pack(dev::mul_rn(q.x, up), dev::mul_rn(q.y, up));
  }
  tile.top = e - shift;
  // Transposing the exponents of columns g brings those of columns 2c and 2c + 1 to this lane.
  const uint32_t shifts = dev::movmatrix_trans(static_cast<uint32_t>(shift + 256) * 0x10001u);
  const uint32_t exponents = dev::movmatrix_trans(static_cast<uint32_t>(e + 256) * 0x10001u);
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    const int of_shift = static_cast<int>(shifts >> (16 * j) & 0xffff) - 256;
    const int of_top = static_cast<int>(exponents >> (16 * j) & 0xffff) - 256;  // shift + top
    tile.zero_factor[j] = dev::mul_rn(k2, power_of_two(of_shift));
    tile.code_factor[j] = dev::mul_rn(k2, power_of_two(of_top));
  }
}

// Where operand B is between records: in registers, or in shared memory, what a lane has of two
// steps together: (steps / 2, 32 lanes).
struct InRegisters {};

template <int STEPS>
DEV_FN void store_query(uint4* to, const QueryTile<STEPS>& tile, int lane) {
  DEV_UNROLL
  for (int step = 0; step < STEPS; step += 2) {
    to[step / 2 * 32 + lane] =
        make_uint4(tile.q[step][0], tile.q[step][1], tile.q[step + 1][0], tile.q[step + 1][1]);
  }
}
template <int STEPS>
DEV_FN void load_query(uint32_t (&q)[STEPS][2], const QueryTile<STEPS>& tile, InRegisters, int) {
  DEV_UNROLL
  for (int at = 0; at < 2 * STEPS; at++) q[at / 2][at % 2] = tile.q[at / 2][at % 2];
}
template <int STEPS>
DEV_FN void load_query(uint32_t (&q)[STEPS][2], const QueryTile<STEPS>&, const uint4* from,
                       int lane) {
  DEV_UNROLL
  for (int step = 0; step < STEPS; step += 2) {
    const uint4 x = from[step / 2 * 32 + lane];
    q[step][0] = x.x;
    q[step][1] = x.y;
    q[step + 1][0] = x.z;
    q[step + 1][1] = x.w;
  }
}

// q becomes operand B of the codes: each column divided by its field's weight.
template <class K>
DEV_FN void weigh_fields(uint32_t (&q)[K::steps][2]) {
  DEV_UNROLL
  for (int at = 0; at < 2 * K::steps; at++) {
    uint32_t& x = q[at / 2][at % 2];
    const int weight = K::field_weight_log2(at / 2, at % 2);
    if (weight != 0) x = dev::h2mul(x, half2_power_of_two(-weight));
  }
}

// ---- K per channel ----

// q' for one token group, and the power of two that sums of q' times codes still need: the codes
// count 2^-24 each as fp16 subnormals, and m 2^top = 2^(14 - e). q: q-hat; top: of the tile.
// scales: shared, the fp16 scales of the group (record.h, k_parameter_index).
template <class K>
DEV_FN float scale_query_tile(uint32_t (&scaled)[K::steps][2], const uint32_t (&q)[K::steps][2],
                              int top, const uint4* scales, int lane) {
  uint32_t largest = 0;
  DEV_UNROLL
  for (int pair = 0; pair < K::steps / 2; pair++) {
    const uint4 s = scales[(lane & 3) * (K::steps / 2) + pair];
    scaled[2 * pair][0] = s.x;
    scaled[2 * pair][1] = s.y;
    scaled[2 * pair + 1][0] = s.z;
    scaled[2 * pair + 1][1] = s.w;
    largest = dev::h2max(largest, dev::h2max(dev::h2max(s.x, s.y), dev::h2max(s.z, s.w)));
  }
  const float2 halves = dev::h2unpack(largest);
  float scale_max = dev::max_num(halves.x, halves.y);
  scale_max = dev::max_num(scale_max, dev::shfl_xor(scale_max, 1));
  scale_max = dev::max_num(scale_max, dev::shfl_xor(scale_max, 2));
  const int e = clamp_int(exponent_of(scale_max), -24, 15);
  const int m_log2 = 14 - top - e;
  const bool fast = dev::vote_all(m_log2 >= 0 && m_log2 <= 15);
  if (fast) {  // the same for the whole warp
    const uint32_t m_half2 = half2_power_of_two(m_log2);
    DEV_UNROLL
    for (int at = 0; at < 2 * K::steps; at++) {
      uint32_t& s = scaled[at / 2][at % 2];
      s = dev::h2mul(q[at / 2][at % 2], dev::h2mul(s, m_half2));
    }
  } else {  // products of two halves are exact in f32, and so is the power of two
    const float m = power_of_two(m_log2);
    DEV_UNROLL
    for (int at = 0; at < 2 * K::steps; at++) {
      const float2 x = dev::h2unpack(q[at / 2][at % 2]), s = dev::h2unpack(scaled[at / 2][at % 2]);
      scaled[at / 2][at % 2] =
          dev::h2pack(dev::mul_rn(dev::mul_rn(x.x, s.x), m), dev::mul_rn(dev::mul_rn(x.y, s.y), m));
    }
  }
  weigh_fields<K>(scaled);
  return power_of_two(24 - 14 + e);
}

// ---- K per token ----

// Sums of q-hat over each channel group, in units of 2^24, for the zeros. sums: shared, this
// warp's, (groups, 8 columns). group_steps: a power of two. Operand A is all ones.
template <class K>
DEV_FN void store_query_sums(float* sums, const QueryTile<K::steps>& tile, int group_steps,
                             int lane) {
  float* sum = sums + 2 * lane;
  constexpr uint32_t ones = 0x3c003c00u;
  float acc[4] = {0, 0, 0, 0};
  DEV_UNROLL
  for (int step = 0; step < K::steps; step++) {
    dev::mma_f16_f32(acc, ones, ones, ones, ones, tile.q[step][0], tile.q[step][1]);
    if (((step + 1) & (group_steps - 1)) != 0) continue;  // the same for the whole warp
    if (lane < 4) {
      sum[0] = dev::mul_rn(acc[0], 0x1p-24f);
      sum[1] = dev::mul_rn(acc[1], 0x1p-24f);
    }
    sum += query_tile_rows;
    acc[0] = acc[1] = acc[2] = acc[3] = 0;
  }
  dev::syncwarp();
}

// One bit for each channel group, for query rows 2c and 2c + 1 of the accumulators: whether the row
// holds a zero there, or both signs. An infinite K zero makes such a score NaN, as the sum over the
// channels would; times the sum of q-hat it would only be infinite.
template <class K>
DEV_FN void find_mixed_groups(uint32_t (&mixed)[2], const QueryTile<K::steps>& tile,
                              int group_steps) {
  uint32_t positive = 0, negative = 0, zero = 0;
  DEV_UNROLL
  for (int at = 0; at < 2 * K::steps; at++) {
    const int group = at / 2 / group_steps;
    const float2 q = dev::h2unpack(tile.q[at / 2][at % 2]);
    positive |= static_cast<uint32_t>(q.x > 0 || q.y > 0) << group;
    negative |= static_cast<uint32_t>(q.x < 0 || q.y < 0) << group;
    zero |= static_cast<uint32_t>(q.x == 0 || q.y == 0) << group;
  }
  uint32_t signs = positive | negative << 8 | zero << 16;  // at most 8 groups
  signs |= dev::shfl_xor(signs, 1);
  signs |= dev::shfl_xor(signs, 2);
  const uint32_t bits = ((signs & signs >> 8) | signs >> 16) & 0xff;
  const uint32_t both = dev::movmatrix_trans(bits * 0x10001u);
  mixed[0] = both & 0xffff;
  mixed[1] = both >> 16;
}

}  // namespace kvproof
