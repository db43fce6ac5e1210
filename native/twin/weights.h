// weights.h - scores to weights: exact, shadow, and how far a kernel's weights can drift
// (reference/row-weights.ts). Sums over tokens are cut into blocks and blocks are added in order.
#pragma once
#include "scores.h"

namespace kvproof_reference {

// Partial results of a row and a block, and results of a row.
struct WeightBlock {
  double score_max, shadow_max, exact_top, shadow_top;  // shadow_max skips a NaN
  double known_max;                                     // largest |exact - shadow|, skips a NaN
  int64_t heaviest;
  double exact_sum, shadow_sum;
  double drift, tail, drift_max, error_max;
};

struct WeightRow {
  double score_max, shadow_max, exact_top, shadow_top, known_max;
  int64_t heaviest;
  double exact_sum, shadow_sum, log_sum, shadow_log_sum, common, anchor;
  bool anchored;
  double drift, tail, drift_max;
  double error_max;  // largest known difference and largest E_j, without what all tokens share
};

struct RowConstants {
  double rescales, sum_error, merge_error;
};

TWIN_FN double gamma_of(double roundings) { return (roundings * u) / (1 - roundings * u); }

TWIN_FN RowConstants row_constants(const Shape& s, const Arithmetic& a, int64_t tokens) {
  const double n = static_cast<double>(tokens);
  const double between = a.rescale_tokens > 0 ? a.rescale_tokens : s.plain ? 16 : 128;
  const double rescales = ceil(n / between) + 3;
  const double lanes = a.sum_lanes < 128 ? a.sum_lanes : 128;
  return {rescales, gamma_of(ceil(n / lanes) + 40 + rescales),
          gamma_of(ceil(n / 128) + 40 + rescales)};
}

constexpr double ex2_error = 1.48e-7;

TWIN_FN double log2_error(double value) { return 0x1p-22 * max_of(1, magnitude_of(value)); }

// Part of E that all tokens of a row share, natural log. Plain rows are what reference/bound.ts
// calls dequantized: schedule unknown, merges through log-sum-exps.
TWIN_FN double common_error(const Shape& s, const Arithmetic& a, const WeightRow& w,
                            int64_t tokens) {
  const double exponentials = (1 + row_constants(s, a, tokens).rescales) * ex2_error;
  if (!s.plain) return exponentials;
  const double log_tokens = log2_of(static_cast<double>(tokens));
  const double lse = max_of(w.score_max + log_tokens, magnitude_of(w.shadow_log_sum));
  return exponentials + ln2 * (2 * u * w.score_max + 4 * u * lse + log2_error(log_tokens));
}
constexpr double second_order = 1 + 0x1p-20;

TWIN_FN double growth(double x) {
  return x <= 1 ? x + x * x : exp2_of(x * log2e) * (1 + 0x1p-40) - 1;
}

inline void find_maxima(Stream stream, const Shape& s, const Scores& scores, WeightBlock* blocks,
                        WeightRow* rows) {
  for_each(
      stream, static_cast<uint64_t>(s.blocks), TWIN_LOOP(uint64_t i) {
        const Place at = block_at(s, static_cast<int64_t>(i));
        const Row r = row_of(s, at.row);
        const int64_t from = first_pair(s, r) + at.at * record_tokens, count = visible_in(r, at.at);
        WeightBlock b{0, -infinity(), -infinity(), -infinity(), 0, 0, 0, 0, 0, 0, 0, 0};
        for (int64_t j = 0; j < count; j++) {
          const double exact = scores.exact[from + j], shadow = scores.shadow[from + j];
          b.score_max = max_of(b.score_max, magnitude_of(shadow));
          b.exact_top = max_of(b.exact_top, exact);
          b.shadow_top = max_of(b.shadow_top, shadow);
          const double known = magnitude_of(exact - shadow);
          if (known > b.known_max) b.known_max = known;
          if (shadow > b.shadow_max) {
            b.shadow_max = shadow;
            b.heaviest = at.at * record_tokens + j;
          }
        }
        blocks[i] = b;
      });
  for_each(
      stream, static_cast<uint64_t>(s.rows), TWIN_LOOP(uint64_t i) {
        const Row r = row_of(s, static_cast<int64_t>(i));
        const int64_t from = first_block(s, r), count = blocks_of(r.visible);
        WeightRow w{};
        w.shadow_max = w.exact_top = w.shadow_top = -infinity();
        for (int64_t b = from; b < from + count; b++) {
          w.score_max = max_of(w.score_max, blocks[b].score_max);
          w.known_max = max_of(w.known_max, blocks[b].known_max);
          w.exact_top = max_of(w.exact_top, blocks[b].exact_top);
          w.shadow_top = max_of(w.shadow_top, blocks[b].shadow_top);
          if (blocks[b].shadow_max > w.shadow_max) {
            w.shadow_max = blocks[b].shadow_max;
            w.heaviest = blocks[b].heaviest;
          }
        }
        rows[i] = w;
      });
}

// scores -> 2^(score - top), errors (e_j) -> E_j; sums of the former.
inline void exponentiate(Stream stream, const Shape& s, const Scores& scores, WeightBlock* blocks,
                         const WeightRow* rows) {
  for_each(
      stream, static_cast<uint64_t>(s.pairs), TWIN_LOOP(uint64_t i) {
        const Place at = pair_at(s, static_cast<int64_t>(i));
        const WeightRow& w = rows[at.row];
        if (at.at >= row_of(s, at.row).visible) return;
        const double difference = min_of(w.shadow_max - scores.shadow[i], 128);
        scores.error[i] = second_order * ln2 * (scores.error[i] + 4 * u * difference);
        scores.exact[i] = exp2_of(scores.exact[i] - w.exact_top);
        scores.shadow[i] = exp2_of(scores.shadow[i] - w.shadow_top);
      });
  for_each(
      stream, static_cast<uint64_t>(s.blocks), TWIN_LOOP(uint64_t i) {
        const Place at = block_at(s, static_cast<int64_t>(i));
        const Row r = row_of(s, at.row);
        const int64_t from = first_pair(s, r) + at.at * record_tokens, count = visible_in(r, at.at);
        double exact = 0, shadow = 0, most = 0;
        for (int64_t j = 0; j < count; j++) {
          exact += scores.exact[from + j];
          shadow += scores.shadow[from + j];
          most = max_of(most, scores.error[from + j]);
        }
        blocks[i].exact_sum = exact;
        blocks[i].shadow_sum = shadow;
        blocks[i].error_max = most;
      });
}

inline void sum_rows(Stream stream, const Shape& s, const Arithmetic& a, const Scores& scores,
                     const WeightBlock* blocks, WeightRow* rows) {
  for_each(
      stream, static_cast<uint64_t>(s.rows), TWIN_LOOP(uint64_t i) {
        const Row r = row_of(s, static_cast<int64_t>(i));
        if (r.visible == 0) return;
        const int64_t from = first_block(s, r), count = blocks_of(r.visible);
        WeightRow w = rows[i];
        for (int64_t b = from; b < from + count; b++) {
          w.exact_sum += blocks[b].exact_sum;
          w.shadow_sum += blocks[b].shadow_sum;
          w.error_max = max_of(w.error_max, blocks[b].error_max);
        }
        w.error_max += ln2 * w.known_max;
        w.log_sum = w.exact_top + log2_of(w.exact_sum);
        w.shadow_log_sum = w.shadow_top + log2_of(w.shadow_sum);
        w.common = common_error(s, a, w, r.visible);
        const int64_t heaviest = first_pair(s, r) + w.heaviest;
        w.anchored = scores.shadow[heaviest] / w.shadow_sum >= 0.5;
        w.anchor = w.anchored ? scores.error[heaviest] + w.common : 0;
        rows[i] = w;
      });
}

// 2^(score - top) -> weights of sum 1, E_j -> a_j theta_j of the shadow; sums of the latter.
inline void drift(Stream stream, const Shape& s, const Scores& scores, WeightBlock* blocks,
                  WeightRow* rows) {
  for_each(
      stream, static_cast<uint64_t>(s.blocks), TWIN_LOOP(uint64_t i) {
        const Place at = block_at(s, static_cast<int64_t>(i));
        const Row r = row_of(s, at.row);
        const WeightRow& w = rows[at.row];
        const int64_t first = first_pair(s, r), count = visible_in(r, at.at);
        const double tail_below = 0x1p-100 / w.shadow_sum;
        double sum = 0, tail = 0, most = 0;
        for (int64_t j = at.at * record_tokens; j < at.at * record_tokens + count; j++) {
          const double shadow = scores.shadow[first + j] / w.shadow_sum;
          scores.exact[first + j] /= w.exact_sum;
          scores.shadow[first + j] = shadow;
          const bool is_anchor = w.anchored && j == w.heaviest;
          const double theta =
              is_anchor ? 0 : growth(scores.error[first + j] + w.common + w.anchor);
          const double own = shadow * theta;
          scores.error[first + j] = own;
          sum += own;
          if (shadow < tail_below)
            tail += own;
          else
            most = max_of(most, theta);
        }
        blocks[i].drift = sum;
        blocks[i].tail = tail;
        blocks[i].drift_max = most;
      });
  for_each(
      stream, static_cast<uint64_t>(s.rows), TWIN_LOOP(uint64_t i) {
        const Row r = row_of(s, static_cast<int64_t>(i));
        const int64_t from = first_block(s, r), count = blocks_of(r.visible);
        WeightRow w = rows[i];
        for (int64_t b = from; b < from + count; b++) {
          w.drift += blocks[b].drift;
          w.tail += blocks[b].tail;
          w.drift_max = max_of(w.drift_max, blocks[b].drift_max);
        }
        rows[i] = w;
      });
}

inline void weigh(Stream stream, const Shape& s, const Arithmetic& a, const Scores& scores,
                  WeightBlock* blocks, WeightRow* rows) {
  find_maxima(stream, s, scores, blocks, rows);
  exponentiate(stream, s, scores, blocks, rows);
  sum_rows(stream, s, a, scores, blocks, rows);
  drift(stream, s, scores, blocks, rows);
}

}  // namespace kvproof_reference
