// scores.h - first pass: exact scores, shadow scores and score errors of every row and token as
// base-2 exponents (reference/score-pass.ts).
#pragma once
#include "score_bound.h"

namespace kvproof_reference {

// Arrays of the first two passes, by pairs of a row and a token unless another shape is given.
struct Scores {
  double *exact, *shadow, *error;
  double* shift;                // per channel: (blocks, token_groups, head_size)
  GroupTerms* groups;           // per channel: (blocks, token_groups)
  ChannelGroupTerms* channels;  // per token: (rows, channel_groups)
};

constexpr double scale_error = 4 * u + 0x1p-44;
constexpr double bf16_floor = 0x1p-50;

// Terms of the groups of keys, before any token is looked at.
inline void bound_groups(Stream stream, const Shape& s, const Arithmetic& a, const Cache& c,
                         const uint16_t* q, const Scores& out) {
  if (s.plain) return;
  if (s.per_token) {
    for_each(
        stream, static_cast<uint64_t>(s.rows * s.channel_groups), TWIN_LOOP(uint64_t i) {
          const int64_t row = static_cast<int64_t>(i) / s.channel_groups;
          const int64_t first = static_cast<int64_t>(i) % s.channel_groups * s.channel_group;
          const Query query = query_of(s, q, row);
          out.channels[i] = channel_group_terms(a, s, query, first, first + s.channel_group);
        });
    return;
  }
  for_each(
      stream, static_cast<uint64_t>(s.blocks * s.token_groups), TWIN_LOOP(uint64_t i) {
        const Place at = block_at(s, static_cast<int64_t>(i) / s.token_groups);
        const Row r = row_of(s, at.row);
        const int64_t token =
            at.at * record_tokens + static_cast<int64_t>(i) % s.token_groups * s.group;
        if (token >= r.packed) return;
        const int64_t line = channel_line(s, r, token) * s.head_size;
        const GroupParameters p{c.k_scales + line, c.k_zeros + line};
        out.groups[i] = folded_group(a, s, query_of(s, q, at.row), p,
                                     out.shift + i * static_cast<uint64_t>(s.head_size));
      });
}

struct Score {
  double exact, shadow, error;  // in units of q.k
};

TWIN_FN Score channel_score(const Shape& s, const Cache& c, const Scores& out, const Row& r,
                            int64_t token, const Query& query) {
  const int64_t codes = code_line(s, r, token) * s.head_size;
  const int64_t line = channel_line(s, r, token) * s.head_size;
  const int64_t block = first_block(s, r) + token / record_tokens;
  const int64_t group = block * s.token_groups + token % record_tokens / s.group;
  const double* shift = out.shift + group * s.head_size;
  double exact = 0, moved = 0;
  for (int64_t i = 0; i < s.head_size; i++) {
    const double code = c.k_codes[codes + i];
    exact +=
        query.at(i) * (code * f16_value(c.k_scales[line + i]) + f16_value(c.k_zeros[line + i]));
    moved += shift[i] * code;
  }
  const GroupTerms terms = out.groups[group];
  return {exact, exact + moved, terms.error + scale_error * terms.magnitude};
}

TWIN_FN Score token_score(const Shape& s, const Cache& c, const Scores& out, const Row& r,
                          int64_t row, int64_t token, const Query& query) {
  const int64_t line = code_line(s, r, token);
  const double rounding = scale_error + (5 + static_cast<double>(s.channel_groups)) * u;
  const double code_max = static_cast<double>(s.code_max);
  double exact = 0, error = 0;
  for (int64_t g = 0; g < s.channel_groups; g++) {
    const double scale = f16_value(c.k_scales[line * s.channel_groups + g]);
    const double stored = f16_value(c.k_zeros[line * s.channel_groups + g]);
    for (int64_t i = g * s.channel_group; i < (g + 1) * s.channel_group; i++) {
      exact += query.at(i) * (c.k_codes[line * s.head_size + i] * scale + stored);
    }
    const ChannelGroupTerms t = out.channels[row * s.channel_groups + g];
    const double zero = magnitude_of(stored), magnitude = scale * t.code_sum + zero * t.zero_sum;
    error += scale * t.code_error + zero * t.zero_error + rounding * magnitude +
             t.lost * (zero + code_max * scale);
  }
  return {exact, exact, error};
}

TWIN_FN Score tail_score(const Shape& s, const Arithmetic& a, const Cache& c, const Row& r,
                         int64_t token, const Query& query) {
  const double smallest = normal_min(s.bf16);
  double exact = 0, magnitudes = 0;
  for (int64_t i = 0; i < s.head_size; i++) {
    const double q = query.at(i), k = element_value(s.bf16, tail_word(s, c, r, false, token, i));
    exact += q * k;
    magnitudes += aligned(q, smallest) * aligned(k, smallest);
  }
  const double chain = plain_chain_error(a, static_cast<double>(s.head_size), magnitudes);
  return {exact, exact, chain + scale_error * magnitudes};
}

inline void score(Stream stream, const Shape& s, const Arithmetic& a, const Cache& c,
                  const uint16_t* q, const Scores& out) {
  const double factor = s.scale * log2e;
  for_each(
      stream, static_cast<uint64_t>(s.pairs), TWIN_LOOP(uint64_t i) {
        const Place at = pair_at(s, static_cast<int64_t>(i));
        const Row r = row_of(s, at.row);
        if (at.at >= r.visible) return;
        Query query{q + at.row * s.head_size, s.bf16, 0, 0, 0};
        const Score x = at.at >= r.packed ? tail_score(s, a, c, r, at.at, query)
                        : s.per_token     ? token_score(s, c, out, r, at.row, at.at, query)
                                          : channel_score(s, c, out, r, at.at, query);
        out.exact[i] = x.exact * factor;
        out.shadow[i] = x.shadow * factor;
        out.error[i] = x.error * magnitude_of(factor) + (s.bf16 ? bf16_floor : 0);
      });
}

}  // namespace kvproof_reference
