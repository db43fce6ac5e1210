// softmax_state.h - what a warp carries from record to record: the running maximum and sums of the
// softmax, and the outputs with their units.
//
// Everything is per query; lane g * 4 + c keeps columns 2c and 2c + 1 (index j below) for the
// tokens of its rows g, so sums are partial until sum_over_rows() at the end. Scores are base-2
// exponents.
//
//   max      largest score so far, the same in all lanes of a query. No token yet: empty_max, the
//            lowest finite number, so that max - max is 0 and never NaN
//   sum      sum of weights 2^(S - max)
//   zero_sum for each channel group, sum of weights times V zeros
//   top      largest weight times V scale of the group so far, decayed with the maximum
//   o        sums of weights times V without the zeros, in units: o stands for o 2^(24 - unit), and
//            unit = unit_of(top) is the exponent that brings top to [2^14, 2^15)
//
// The unit is why no fp16 V overflows (scales reach 43,669 and values 65,504) and none is lost: a
// product rounded to fp16 is off by at most 2^-11 of itself or 2^-25 2^w in units where the largest
// so far is 2^14 or more, w <= 6 (record.h). unit <= 100 bounds the factors; a top that small is
// 2^-86.
#pragma once
#include "numerics.h"
#include "record.h"

namespace kvproof {

constexpr float empty_max = -0x1.fffffep+127f;
constexpr int unit_max = 100;
constexpr int unit_min = -2;  // of V scales up to 2^16

// V_TILES: row tiles of V^T, 16 channels each. GROUPS: channel groups that are told apart; longer
// groups than that have equal entries.
template <int V_TILES, int GROUPS>
struct SoftmaxState {
  static constexpr int v_tiles = V_TILES, groups = GROUPS;
  static constexpr int group_tiles = V_TILES / GROUPS;
  float max[2];
  float sum[2];
  float zero_sum[GROUPS][2];
  float top[GROUPS][2];
  float o[V_TILES][4];  // (channels x 8 queries)
};

// top: of every group; 0 before the first record.
template <class State>
DEV_FN void clear(State& state, float top) {
  state = {};
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    state.max[j] = empty_max;
    DEV_UNROLL
    for (int group = 0; group < State::groups; group++) state.top[group][j] = top;
  }
}

// Takes the scores of 16 TILES tokens into max and sum and turns them into weights in place.
// decay: the factor 2^(old max - new max) that everything summed before has to be multiplied with.
// columns: 1 if the odd ones are empty, else 2; empty ones get weight 0.
template <class State, int TILES>
DEV_FN void softmax_step(State& state, float (&s)[TILES][4], float (&decay)[2], int columns) {
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    if (j >= columns) {  // the same for the whole block
      decay[j] = 1;
      DEV_UNROLL
      for (int i = 0; i < TILES; i++) s[i][j] = s[i][j + 2] = 0;
      continue;
    }
    float largest = state.max[j];
    DEV_UNROLL
    for (int i = 0; i < TILES; i++) {
      largest = dev::max_num(largest, dev::max_num(s[i][j], s[i][j + 2]));
    }
    largest = max_over_rows(largest);
    decay[j] = dev::ex2(dev::sub_rn(state.max[j], largest));
    state.max[j] = largest;
    float sum = dev::mul_rn(state.sum[j], decay[j]);
    DEV_UNROLL
    for (int i = 0; i < TILES; i++) {
      s[i][j] = dev::ex2(dev::sub_rn(s[i][j], largest));
      s[i][j + 2] = dev::ex2(dev::sub_rn(s[i][j + 2], largest));
      sum = dev::add_rn(sum, dev::add_rn(s[i][j], s[i][j + 2]));
    }
    state.sum[j] = sum;
  }
}

// How far query rows see into a stretch of tokens, counted from its first: below 0 or beyond its
// end where they see nothing or everything.
struct Sight {
  int limit[2];  // tokens that columns 2c and 2c + 1 see
  int all;       // tokens that every row of the request sees

  DEV_FN Sight from(int token) const { return {{limit[0] - token, limit[1] - token}, all - token}; }
};

// -Inf for tokens that a query does not see. A score of -Inf is below even the maximum of no token,
// so that it weighs nothing where every real score is -Inf too.
template <int TILES>
DEV_FN void mask_scores(float (&s)[TILES][4], const Sight& sight, int lane) {
  const int g = lane >> 2;
  DEV_UNROLL
  for (int at = 0; at < 4 * TILES; at++) {
    const int i = at / 4, j = at % 4;
    const int token = i * 16 + g + (j >> 1) * 8;
    s[i][j] = token < sight.limit[j & 1] ? s[i][j] : dev::f32_from_bits(0xff800000u);
  }
}

DEV_FN int unit_of(float top) { return clamp_int(14 - exponent_of(top), unit_min, unit_max); }

// Moves the outputs of a channel group to the unit of a new top, and past the maximum's change. The
// factor decay 2^(unit change) never overflows: a unit grows only by what top has decayed.
template <class State>
DEV_FN void change_top(State& state, int group, const float (&top)[2], const float (&decay)[2],
                       int columns) {
  constexpr int tiles = State::group_tiles;
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    if (j >= columns) continue;  // the same for the whole block
    const int change = unit_of(top[j]) - unit_of(state.top[group][j]);
    const float factor = dev::mul_rn(decay[j], power_of_two(change));
    state.top[group][j] = top[j];
    DEV_UNROLL
    for (int i = group * tiles; i < (group + 1) * tiles; i++) {
      state.o[i][j] = dev::mul_rn(state.o[i][j], factor);
      state.o[i][j + 2] = dev::mul_rn(state.o[i][j + 2], factor);
    }
  }
}

}  // namespace kvproof
