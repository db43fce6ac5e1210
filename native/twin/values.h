// values.h - second pass: sums over the values, for every row and channel
// (reference/value-pass.ts), and what the guards look at on the way (reference/guards.ts). A thread
// sums one block of tokens; bound.h adds the blocks in order.
#pragma once
#include "weights.h"

namespace kvproof_reference {

// Sums of one block: of a channel, and of a channel group over packed tokens.
struct ChannelSums {
  double output, shadow, deviation, magnitude, centre;  // shadow: of packed tokens, or of the tail
  double infinities;                                    // values that are not finite
};
struct GroupSums {
  double zero, zero_magnitude, scaled, scaled_max, scale_max;
};

struct Values {
  ChannelSums* channels;  // (blocks, head_size)
  GroupSums* groups;      // (blocks, channel_groups)
  uint64_t* value_max;    // (rows), bits of a double: largest magnitude of a value that is seen
  uint64_t* key_max;      // (rows), bits of a double: of a key in the tail
  uint32_t* flags;        // (rows), of Flag
};

enum Flag : uint32_t {
  not_finite = 1,  // an operand that the row sees, or a negative scale
  no_bound = 2,    // a constant left its range (bound.h)
};

TWIN_FN bool is_special(bool bf16, uint16_t word) {
  const uint16_t mask = bf16 ? 0x7f80 : 0x7c00;
  return (word & mask) == mask;
}

TWIN_FN double value_of(const Shape& s, const Cache& c, const Row& r, int64_t token, int64_t d) {
  if (token >= r.packed) return element_value(s.bf16, tail_word(s, c, r, true, token, d));
  const int64_t line = code_line(s, r, token);
  const int64_t at = line * s.channel_groups + d / s.channel_group;
  return c.v_codes[line * s.head_size + d] * f16_value(c.v_scales[at]) + f16_value(c.v_zeros[at]);
}

inline void sum_values(Stream stream, const Shape& s, const Cache& c, const Scores& w,
                       const WeightRow* rows, const Values& out) {
  for_each(
      stream, static_cast<uint64_t>(s.blocks * s.head_size), TWIN_LOOP(uint64_t i) {
        const int64_t d = static_cast<int64_t>(i) % s.head_size;
        const Place at = block_at(s, static_cast<int64_t>(i) / s.head_size);
        const Row r = row_of(s, at.row);
        const int64_t first = at.at * record_tokens, count = visible_in(r, at.at);
        const int64_t from = first_pair(s, r);
        const bool is_tail = first >= r.packed;
        const double floor_weight = f16_normal_min * (1 / rows[at.row].shadow_sum);
        const double smallest = normal_min(s.bf16);
        double largest = 0;
        ChannelSums sums{0, 0, 0, 0, 0, 0};
        for (int64_t t = first; t < first + count; t++) {
          const double v = value_of(s, c, r, t, d), magnitude = magnitude_of(v);
          if (magnitude > largest) largest = magnitude;
          sums.centre += v;
          if (!is_finite(v)) sums.infinities += v;
        }
        sums.centre /= static_cast<double>(count);
        for (int64_t t = first; t < first + count; t++) {
          const double v = value_of(s, c, r, t, d), weight = w.shadow[from + t];
          sums.output += w.exact[from + t] * v;
          sums.shadow += weight * v;
          sums.deviation += w.error[from + t] * magnitude_of(v - sums.centre);
          if (is_tail) sums.magnitude += max_of(weight, floor_weight) * aligned(v, smallest);
        }
        out.channels[i] = sums;
        max_into(&out.value_max[at.row], bits_of(largest));
      });
}

inline void sum_parameters(Stream stream, const Shape& s, const Cache& c, const Scores& w,
                           const Values& out) {
  if (s.plain) return;
  for_each(
      stream, static_cast<uint64_t>(s.blocks * s.channel_groups), TWIN_LOOP(uint64_t i) {
        const int64_t g = static_cast<int64_t>(i) % s.channel_groups;
        const Place at = block_at(s, static_cast<int64_t>(i) / s.channel_groups);
        const Row r = row_of(s, at.row);
        const int64_t first = at.at * record_tokens, from = first_pair(s, r);
        const int64_t end = smaller(first + record_tokens, r.packed);
        GroupSums sums{0, 0, 0, 0, 0};
        for (int64_t t = first; t < end; t++) {
          const int64_t place = code_line(s, r, t) * s.channel_groups + g;
          const double scale = f16_value(c.v_scales[place]), zero = f16_value(c.v_zeros[place]);
          const double weight = w.shadow[from + t];
          sums.zero += weight * zero;
          sums.zero_magnitude += weight * magnitude_of(zero);
          sums.scaled += weight * scale;
          sums.scaled_max = max_of(sums.scaled_max, weight * scale);
          sums.scale_max = max_of(sums.scale_max, scale);
        }
        out.groups[i] = sums;
      });
}

// A scale or a zero that is no number, or a scale below zero.
TWIN_FN bool is_bad(uint16_t scale, uint16_t zero) {
  return is_special(false, scale) || is_special(false, zero) || scale >= 0x8000;
}

// Parameters that the row reads of a packed token and channel. A group of tokens of K that it sees
// a part of counts as a whole.
TWIN_FN bool has_bad_parameters(const Shape& s, const Cache& c, const Row& r, int64_t token,
                                int64_t d) {
  const int64_t group = token / s.group * s.group;
  if (!s.per_token && group < r.packed) {
    const int64_t k = channel_line(s, r, token) * s.head_size + d;
    if (is_bad(c.k_scales[k], c.k_zeros[k])) return true;
  }
  if (token >= r.packed) return false;
  const int64_t at = code_line(s, r, token) * s.channel_groups + d / s.channel_group;
  return is_bad(c.v_scales[at], c.v_zeros[at]) ||
         (s.per_token && is_bad(c.k_scales[at], c.k_zeros[at]));
}

inline void look_for_specials(Stream stream, const Shape& s, const Cache& c, const uint16_t* q,
                              const Values& out) {
  for_each(
      stream, static_cast<uint64_t>(s.blocks * s.head_size), TWIN_LOOP(uint64_t i) {
        const int64_t d = static_cast<int64_t>(i) % s.head_size;
        const Place at = block_at(s, static_cast<int64_t>(i) / s.head_size);
        const Row r = row_of(s, at.row);
        const int64_t first = at.at * record_tokens;
        const bool is_bad_query = at.at == 0 && is_special(s.bf16, q[at.row * s.head_size + d]);
        uint32_t flags = is_bad_query ? uint32_t{no_bound} : 0;
        double key = 0;
        for (int64_t t = first; t < smaller(first + record_tokens, r.visible); t++) {
          if (t < r.all_packed) {
            if (has_bad_parameters(s, c, r, t, d)) flags |= not_finite;
            continue;
          }
          const uint16_t k = tail_word(s, c, r, false, t, d), v = tail_word(s, c, r, true, t, d);
          key = max_of(key, magnitude_of(element_value(s.bf16, k)));
          if (is_special(s.bf16, k) || is_special(s.bf16, v)) flags |= not_finite;
        }
        or_into(&out.flags[at.row], flags);
        max_into(&out.key_max[at.row], bits_of(key));
      });
}

}  // namespace kvproof_reference
