// score_bound.h - what a folding kernel can get wrong in q.k: reference/score-bound.ts and
// reference/key-groups.ts, operation by operation.
#pragma once
#include "cache.h"

namespace kvproof_reference {

struct Arithmetic {
  double fraction, fused_products, sum_lanes, rescale_tokens;
};

// One query row: reference/score-bound.ts, Query, with its elements read from the words of q.
struct Query {
  const uint16_t* words;  // (head_size)
  bool bf16;
  int exponent;
  double smallest, lost_below;

  TWIN_FN double at(int64_t i) const { return element_value(bf16, words[i]); }
};

TWIN_FN double normal_min(bool bf16) { return bf16 ? 0x1p-126 : f16_normal_min; }

// |x|, but at least the smallest normal number unless 0.
TWIN_FN double aligned(double x, double smallest) {
  const double magnitude = magnitude_of(x);
  return magnitude == 0 ? 0 : max_of(magnitude, smallest);
}

TWIN_FN Query query_of(const Shape& s, const uint16_t* q, int64_t row) {
  Query query{q + row * s.head_size, s.bf16, 0, 0, 0};
  double most = 0;
  for (int64_t i = 0; i < s.head_size; i++) most = max_of(most, magnitude_of(query.at(i)));
  const int own = exponent_of(most), least = s.bf16 ? -133 : -24;
  query.exponent = own > least ? own : least;
  const int below =
      s.bf16 ? query.exponent - 21 : (query.exponent - 28 < -14 ? query.exponent - 28 : -14);
  query.smallest = power_of_two(below);
  query.lost_below = s.bf16 ? power_of_two(query.exponent - 24) : 0;
  return query;
}

constexpr double drift_of_sums = 1 + 0x1p-8;

TWIN_FN double power(int exponent) { return power_of_two(exponent > -900 ? exponent : -900); }

TWIN_FN int chain_exponent(double product, double partial_sum) {
  const int a = exponent_of(product), b = exponent_of(drift_of_sums * partial_sum);
  return a > b ? a : b;
}

TWIN_FN double chain_error(const Arithmetic& a, double products, double truncated, int exponent,
                           double partial_sum) {
  const double groups = ceil(products / a.fused_products);
  return (truncated + groups - 1) * power(exponent - static_cast<int>(a.fraction)) +
         groups * power(exponent_of(drift_of_sums * partial_sum) - 23);
}

TWIN_FN double plain_chain_error(const Arithmetic& a, double products, double magnitudes) {
  return chain_error(a, products, products, exponent_of(drift_of_sums * magnitudes), magnitudes);
}

TWIN_FN double sum_error(const Arithmetic& a, double count, double aligned_at, double partial_sum) {
  const double chain =
      chain_error(a, count, count, chain_exponent(aligned_at, partial_sum), partial_sum);
  return max_of(chain, count * u * drift_of_sums * partial_sum);
}

TWIN_FN int field_weight_max(int64_t bits) { return bits == 8 ? 0 : bits == 4 ? 4 : 6; }

constexpr double eta = 0x1p-25;

struct GroupTerms {
  double error, magnitude;
};

// Parameters of the token group whose channels start at `line`.
struct GroupParameters {
  const uint16_t *scales, *zeros;  // (head_size)

  TWIN_FN double scale(int64_t d) const { return f16_value(scales[d]); }
  TWIN_FN double zero(int64_t d) const { return f16_value(zeros[d]); }
};

TWIN_FN GroupTerms zero_chain(const Arithmetic& a, const Query& query, const GroupParameters& p,
                              int64_t size) {
  double positive = 0, negative = 0, most = 0;
  for (int64_t i = 0; i < size; i++) {
    const double q = query.at(i), zero = p.zero(i), product = q * zero;
    if (product == 0) continue;
    if (product > 0)
      positive += product;
    else
      negative -= product;
    const double raised =
        max_of(magnitude_of(q), query.smallest) * max_of(magnitude_of(zero), f16_normal_min);
    most = max_of(most, raised);
  }
  const double sum = max_of(positive, negative), count = static_cast<double>(size);
  return {chain_error(a, count, count, chain_exponent(most, sum), sum), sum};
}

// K per channel: a group of tokens; shift (head_size) receives delta.
TWIN_FN GroupTerms folded_group(const Arithmetic& a, const Shape& s, const Query& query,
                                const GroupParameters& p, double* shift) {
  const double code_max = static_cast<double>(s.code_max);
  const int weight = field_weight_max(s.bits);
  double scale_max = 0;
  for (int64_t i = 0; i < s.head_size; i++) scale_max = max_of(scale_max, p.scale(i));
  const int own = exponent_of(scale_max), scale_exponent = own > -24 ? own : -24;
  const double unit = power_of_two(query.exponent + scale_exponent - 14);
  const double normal = unit * power_of_two(weight - 14);
  const double rounded_twice = unit * eta * (1 + power_of_two(weight));
  double positive = 0, negative = 0, largest = 0, slack = 0, lost = 0;
  for (int64_t i = 0; i < s.head_size; i++) {
    const double q = query.at(i), scale = p.scale(i), product = q * scale;
    const double rounded = significand11(product), magnitude = magnitude_of(rounded);
    if (magnitude >= normal) {
      shift[i] = rounded - product;
    } else {
      shift[i] = 0;
      if (product != 0) slack += u16 * magnitude + rounded_twice;
    }
    if (rounded > 0)
      positive += rounded;
    else
      negative -= rounded;
    if (magnitude > largest) largest = magnitude;
    const double mine = magnitude_of(q);
    if (mine < query.lost_below) lost += mine * (magnitude_of(p.zero(i)) + code_max * scale);
  }
  const double sum = code_max * (max_of(positive, negative) + slack);
  const int exponent = chain_exponent(1024 * max_of(largest, unit * f16_normal_min), sum);
  const double exact_from = power(exponent - static_cast<int>(a.fraction) + 10);
  double truncated = 0;
  for (int64_t i = 0; i < s.head_size; i++) {
    const double magnitude = magnitude_of(query.at(i) * p.scale(i) + shift[i]);
    if (magnitude != 0 && (magnitude < exact_from || magnitude < normal)) truncated++;
  }
  const GroupTerms zero = zero_chain(a, query, p, s.head_size);
  const double codes = chain_error(a, static_cast<double>(s.head_size), truncated, exponent, sum);
  return {code_max * slack + codes + zero.error + lost, sum + zero.magnitude + lost};
}

// K per token: what one group of channels adds for a token with scale s and zero z.
struct ChannelGroupTerms {
  double code_error, zero_error, code_sum, zero_sum, lost;
};

TWIN_FN ChannelGroupTerms channel_group_terms(const Arithmetic& a, const Shape& s,
                                              const Query& query, int64_t first, int64_t end) {
  const double code_max = static_cast<double>(s.code_max);
  const int weight = field_weight_max(s.bits);
  const double unit = power_of_two(query.exponent - 14);
  const double normal = unit * power_of_two(weight - 14);
  double positive = 0, negative = 0, largest = 0, slack = 0, lost = 0;
  for (int64_t i = first; i < end; i++) {
    const double q = query.at(i), magnitude = magnitude_of(q);
    if (q > 0)
      positive += magnitude;
    else
      negative += magnitude;
    if (magnitude > largest) largest = magnitude;
    if (magnitude == 0) continue;
    if (magnitude < normal) slack += unit * eta * power_of_two(weight);
    if (magnitude < query.lost_below) lost += magnitude;
  }
  const double partial = max_of(positive, negative), sum = code_max * (partial + slack);
  const double aligned_at = max_of(largest, query.smallest);
  const int exponent = chain_exponent(1024 * aligned_at, sum);
  const double exact_from = power(exponent - static_cast<int>(a.fraction) + 10);
  double truncated = 0;
  for (int64_t i = first; i < end; i++) {
    const double magnitude = magnitude_of(query.at(i));
    if (magnitude != 0 && (magnitude < exact_from || magnitude < normal)) truncated++;
  }
  const double count = static_cast<double>(end - first);
  return {code_max * slack + chain_error(a, count, truncated, exponent, sum),
          sum_error(a, count, aligned_at, partial), sum, partial, lost};
}

}  // namespace kvproof_reference
