// query_tile.h - eight query rows of one KV head as operand B of the score products, scaled so that
// fp16 neither overflows nor loses bits, and multiplied by the K scales of a record.
//
// q-hat = q 2^-shift with shift <= 0 for each row: a row is only ever scaled up, so q-hat is exact.
// Its largest element is in [2^14, 2^15); a row that reaches 2^15 by itself keeps shift = 0. A zero
// row stays zero.
//
// For a group of tokens with K scales s_d (largest scale: s, in [2^e, 2^(e+1)), e in -24..15):
//   q' = RN16(RN16(q-hat_d s_d m) 2^-w),   m = 2^(14 - top - e),
// top the exponent of the row's largest q-hat (14 or 15) and w the weight of the code's field in
// its word (record.h). q-hat_d s_d m < 2^16 for every fp16 input and rounds to at most 65,472, so
// nothing overflows; what falls below the fp16 subnormals is at most 2^-25 2^w of the units in
// which the largest possible product is 2^14 or more. s_d m is exact where the fast path is taken
// (m >= 1), so both paths give the same bits and no row depends on its neighbours.
#pragma once
#include "numerics.h"
#include "record.h"

namespace kvproof {

// fp16 2^e for e in -14..15, in both halves of a word.
DEV_FN uint32_t half2_power_of_two(int e) {
  return static_cast<uint32_t>(e + 15) << 10 | static_cast<uint32_t>(e + 15) << 26;
}

struct QueryTile {
  // Operand B: lane g * 4 + c holds channels 16 step + 8 i + 2c, + 1 of query row g in q[step][i].
  uint32_t q[column_steps][2];  // q-hat, fp16 pairs
  int top;                      // exponent of the largest q-hat of row g: 14, or 15
  // What turns sums into base-2 exponents, for query rows 2c and 2c + 1 of the accumulators:
  float zero_factor[2];  // k2 2^shift: of sums of q-hat times K (or zeros)
  float code_factor[2];  // k2 2^(shift + top): of sums of q' times codes, with score_unit()
};

// rows: (query rows of the tile, 128) fp16, query_rows of them; the other rows of the tile are
// zero. k2 = softmax_scale log2(e).
DEV_FN void load_query_tile(QueryTile& tile, const uint16_t* rows, int query_rows, float k2,
                            int lane) {
  const int g = lane >> 2, c = lane & 3;
  const uint32_t* row = reinterpret_cast<const uint32_t*>(rows + g * head_size);  // (64)
  uint32_t largest = 0;
  DEV_UNROLL
  for (int step = 0; step < column_steps; step++) {
    DEV_UNROLL
    for (int i = 0; i < 2; i++) {
      tile.q[step][i] = g < query_rows ? row[step * 8 + i * 4 + c] : 0;
      largest = dev::h2max(largest, tile.q[step][i] & 0x7fff7fffu);
    }
  }
  const float2 pair = dev::h2unpack(largest);
  float row_max = dev::max_num(pair.x, pair.y);
  row_max = dev::max_num(row_max, dev::shfl_xor(row_max, 1));
  row_max = dev::max_num(row_max, dev::shfl_xor(row_max, 2));
  const int e = clamp_int(exponent_of(row_max), -24, 15);
  const float up = power_of_two(e < 14 ? 14 - e : 0);
  DEV_UNROLL
  for (int step = 0; step < column_steps; step++) {
    DEV_UNROLL
    for (int i = 0; i < 2; i++) {
      const float2 q = dev::h2unpack(tile.q[step][i]);
      tile.q[step][i] = dev::h2pack(dev::mul_rn(q.x, up), dev::mul_rn(q.y, up));
    }
  }
  tile.top = e < 14 ? 14 : e;
  // Transposing the exponents of rows g brings those of rows 2c and 2c + 1 to this lane.
  const uint32_t exponents = dev::movmatrix_trans(static_cast<uint32_t>(e + 64) * 0x10001u);
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    const int column = static_cast<int>(exponents >> (16 * j) & 0xffff) - 64;
    tile.zero_factor[j] = dev::mul_rn(k2, power_of_two(column < 14 ? column - 14 : 0));
    tile.code_factor[j] = dev::mul_rn(k2, power_of_two(column));  // shift + top = column
  }
}

// q' for one token group, and the power of two that sums of q' times codes still need: the codes
// count 2^-24 each as fp16 subnormals, and m 2^top = 2^(14 - e). scales: shared, the 128 fp16
// scales of the group (record.h, k_parameter_index).
template <class R>
DEV_FN float scale_query_tile(uint32_t (&scaled)[column_steps][2], const QueryTile& tile,
                              const uint4* scales, int lane) {
  const int c = lane & 3;
  uint32_t largest = 0;
  DEV_UNROLL
  for (int pair = 0; pair < column_steps / 2; pair++) {
    const uint4 s = scales[c * 4 + pair];
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
  const int m_log2 = 14 - tile.top - e;
  const bool fast = dev::vote_all(m_log2 >= 0 && m_log2 <= 15);
  const uint32_t m_half2 = half2_power_of_two(fast ? m_log2 : 0);
  const float m = power_of_two(m_log2);
  DEV_UNROLL
  for (int step = 0; step < column_steps; step++) {
    DEV_UNROLL
    for (int i = 0; i < 2; i++) {
      if (fast) {
        scaled[step][i] = dev::h2mul(tile.q[step][i], dev::h2mul(scaled[step][i], m_half2));
      } else {  // products of two halves are exact in f32, and so is the power of two
        const float2 q = dev::h2unpack(tile.q[step][i]), s = dev::h2unpack(scaled[step][i]);
        scaled[step][i] = dev::h2pack(dev::mul_rn(dev::mul_rn(q.x, s.x), m),
                                      dev::mul_rn(dev::mul_rn(q.y, s.y), m));
      }
      const int weight = field_weight_log2<R::bits>(step, i);
      if (weight != 0) scaled[step][i] = dev::h2mul(scaled[step][i], half2_power_of_two(-weight));
    }
  }
  return power_of_two(24 - 14 + e);
}

}  // namespace kvproof
