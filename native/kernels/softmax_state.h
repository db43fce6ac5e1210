// softmax_state.h - what a warp carries from record to record: the running maximum and sums of the
// softmax, and the outputs with their units.
//
// Everything is per query; lane g * 4 + c keeps queries 2c and 2c + 1 (index j below) for the
// tokens of its rows g, so sums are partial until sum_over_rows() at the end. Scores are base-2
// exponents.
//
//   max      largest score so far, the same in all lanes of a query. No token yet: empty_max, which
//            is finite, so that max - max is 0 and never NaN, and below every score: |S| < 2^55 as
//            |softmax_scale| <= 2^15. Weights relative to it are exactly 0.
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
#include "row_reduce.h"

namespace kvproof {

constexpr float empty_max = -0x1p100f;
constexpr int unit_max = 100;
constexpr int unit_min = -2;  // of V scales up to 2^16

template <int GROUPS>
struct SoftmaxState {
  float max[2];
  float sum[2];
  float zero_sum[GROUPS][2];
  float top[GROUPS][2];
  float o[row_tiles][4];  // (128 channels x 8 queries)
};

template <int GROUPS>
DEV_FN void clear(SoftmaxState<GROUPS>& state) {
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    state.max[j] = empty_max;
    state.sum[j] = 0;
    DEV_UNROLL
    for (int group = 0; group < GROUPS; group++) {
      state.zero_sum[group][j] = 0;
      state.top[group][j] = 0;
    }
  }
  DEV_UNROLL
  for (int i = 0; i < row_tiles; i++) {
    DEV_UNROLL
    for (int j = 0; j < 4; j++) state.o[i][j] = 0;
  }
}

// Takes the scores of up to 128 tokens into max and sum and turns them into weights in place.
// decay: the factor 2^(old max - new max) that everything summed before has to be multiplied with.
template <int GROUPS>
DEV_FN void softmax_step(SoftmaxState<GROUPS>& state, float (&s)[row_tiles][4], float (&decay)[2]) {
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    float largest = state.max[j];
    DEV_UNROLL
    for (int i = 0; i < row_tiles; i++) {
      largest = dev::max_num(largest, dev::max_num(s[i][j], s[i][j + 2]));
    }
    largest = max_over_rows(largest);
    decay[j] = dev::ex2(dev::sub_rn(state.max[j], largest));
    state.max[j] = largest;
    float sum = dev::mul_rn(state.sum[j], decay[j]);
    DEV_UNROLL
    for (int i = 0; i < row_tiles; i++) {
      s[i][j] = dev::ex2(dev::sub_rn(s[i][j], largest));
      s[i][j + 2] = dev::ex2(dev::sub_rn(s[i][j + 2], largest));
      sum = dev::add_rn(sum, dev::add_rn(s[i][j], s[i][j + 2]));
    }
    state.sum[j] = sum;
  }
}

DEV_FN int unit_of(float top) { return clamp_int(14 - exponent_of(top), unit_min, unit_max); }

// Moves the outputs of a channel group to the unit of a new top, and past the maximum's change. The
// factor decay 2^(unit change) never overflows: a unit grows only by what top has decayed.
template <int GROUPS>
DEV_FN void change_top(SoftmaxState<GROUPS>& state, int group, const float (&top)[2],
                       const float (&decay)[2]) {
  constexpr int tiles = row_tiles / GROUPS;
  float factor[2];
  DEV_UNROLL
  for (int j = 0; j < 2; j++) {
    const int change = unit_of(top[j]) - unit_of(state.top[group][j]);
    factor[j] = dev::mul_rn(decay[j], power_of_two(change));
    state.top[group][j] = top[j];
  }
  DEV_UNROLL
  for (int i = group * tiles; i < (group + 1) * tiles; i++) {
    DEV_UNROLL
    for (int j = 0; j < 4; j++) state.o[i][j] = dev::mul_rn(state.o[i][j], factor[j & 1]);
  }
}

}  // namespace kvproof
