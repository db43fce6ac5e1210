// bound.h - the L1 bound of every element of output and lse (reference/bound.ts), and the
// comparison of what a kernel gave with it (properties/acceptance.ts).
#pragma once
#include "twin_abi.h"
#include "values.h"

namespace kvproof_reference {

// As reference/bound.ts, BoundResult, before guarded rows lose their bounds.
struct Bound {
  double *output, *radius, *bound;  // (rows, head_size)
  double* alternative;              // (rows, head_size)
  double *lse, *lse_bound;          // (rows)
  double* value_max;                // (rows)
  uint8_t* guarded;                 // (rows)
};

constexpr double flushed = 0x1p-64;
constexpr double guard_limit = 0.1;
constexpr double f32_room = 0x1p100;

TWIN_FN double rounding_unit(bool bf16) { return bf16 ? 0x1p-8 : u16; }

// Sums of a row and channel over its blocks.
struct Totals {
  double output, shadow, shadow_packed, magnitude, drift, infinities;
  GroupSums group;
  double value_max;
};

TWIN_FN Totals totals_of(const Shape& s, const Row& r, int64_t row, int64_t d, const Values& v,
                         const WeightBlock* blocks) {
  Totals t{};
  const int64_t from = first_block(s, r), count = blocks_of(r.visible), g = d / s.channel_group;
  for (int64_t b = 0; b < count; b++) {
    const ChannelSums& sums = v.channels[(from + b) * s.head_size + d];
    t.output += sums.output;
    t.drift += sums.deviation;
    t.magnitude += sums.magnitude;
    t.shadow += sums.shadow;
    t.infinities += sums.infinities;
    if (b * record_tokens >= r.packed) continue;
    t.shadow_packed += sums.shadow;
    const GroupSums& own = v.groups[(from + b) * s.channel_groups + g];
    t.group.zero += own.zero;
    t.group.zero_magnitude += own.zero_magnitude;
    t.group.scaled += own.scaled;
    t.group.scaled_max = max_of(t.group.scaled_max, own.scaled_max);
    t.group.scale_max = max_of(t.group.scale_max, own.scale_max);
  }
  for (int64_t b = 0; b < count; b++) {
    const double apart = magnitude_of(v.channels[(from + b) * s.head_size + d].centre - t.shadow);
    t.drift += blocks[from + b].drift * apart;
  }
  t.value_max = max_of(double_of(v.value_max[row]), normal_min(s.bf16));
  return t;
}

TWIN_FN double spread(const WeightRow& w, double tokens, double sum, double most) {
  const double tail = w.tail + tokens * 0x1p-100;
  return (sum * (1 + w.drift_max) + tail * most) / (1 - w.drift);
}

TWIN_FN double product_error(const Arithmetic& a, double groups, double sum, double scaled,
                             double scaled_max) {
  const double quantum = (a.fused_products + 1) * power_of_two(-static_cast<int>(a.fraction));
  const double by_max = groups * max_of(sum, 1024 * scaled_max);
  const double by_sum = groups * sum + 1024 * (scaled + groups * 0x1p-28 * scaled_max);
  return quantum * min_of(by_max, by_sum) + groups * 2 * u * sum;
}

TWIN_FN double fused_groups(const Shape& s, const Arithmetic& a, const Row& r) {
  const double steps = 16 / a.fused_products;
  const double packed = ceil(static_cast<double>(r.packed) / 16);
  const double tail = ceil(static_cast<double>(r.visible - r.packed) / 16);
  const double terms = s.bf16 && !s.plain ? 2 : 1;
  return (packed + terms * tail) * steps;
}

// From this E_j on nothing is known about weights (reference/infinite-alternatives.ts).
constexpr double scores_unknown = 657.0 / 2;

// The infinity that an element may be although float64 has NaN, or NaN: in a guarded row.
TWIN_FN double alternative_of(const WeightRow& w, const Totals& t) {
  const bool is_unknown = w.error_max >= scores_unknown && is_finite(w.log_sum);
  const bool is_one = magnitude_of(t.infinities) == infinity();
  return is_unknown && is_one && is_nan(t.output) ? t.infinities : quiet_nan();
}

struct Numerator {
  double error, gamma;
};

TWIN_FN Numerator numerator(const Shape& s, const Arithmetic& a, const Row& r, const WeightRow& w,
                            const RowConstants& constants, const Totals& t) {
  const double code_max = static_cast<double>(s.code_max), tokens = static_cast<double>(r.visible);
  const double weight_error = (s.plain ? rounding_unit(s.bf16) : u16) + 2 * u;
  const double groups = fused_groups(s, a, r);
  const double gamma =
      groups * ((a.fused_products + 1) * power_of_two(-static_cast<int>(a.fraction)) + 2 * u);
  const double again = 1 + 2 * gamma;
  const double magnitude = spread(w, tokens, t.magnitude, t.value_max);
  if (s.plain) {
    const double products = product_error(a, groups, magnitude, 0, 0);
    return {((weight_error + constants.merge_error) * magnitude + products) * again, gamma};
  }
  const GroupSums& g = t.group;
  const double span = max_of(0, t.shadow_packed - g.zero) + 0x1p-40 * g.zero_magnitude;
  const double span_sum = spread(w, tokens, span, code_max * g.scale_max);
  const double scaled_max = spread(w, tokens, g.scaled_max, g.scale_max);
  const double scaled = spread(w, tokens, g.scaled, g.scale_max);
  const double zeros = spread(w, tokens, g.zero_magnitude, t.value_max + code_max * g.scale_max);
  const double subnormal = 0x1p-33 * scaled_max * code_max * static_cast<double>(r.packed);
  const double rounding = weight_error * (magnitude + span_sum) + subnormal;
  const double products = product_error(a, groups, magnitude + span_sum, scaled, scaled_max);
  const double merges = constants.merge_error * (magnitude + span_sum + zeros);
  return {(rounding + products + constants.sum_error * zeros + merges) * again, gamma};
}

inline void bound_outputs(Stream stream, const Shape& s, const Arithmetic& a, const Values& v,
                          const WeightBlock* blocks, const WeightRow* rows, const Bound& out) {
  for_each(
      stream, static_cast<uint64_t>(s.rows * s.head_size), TWIN_LOOP(uint64_t i) {
        const int64_t d = static_cast<int64_t>(i) % s.head_size,
                      row = static_cast<int64_t>(i) / s.head_size;
        const Row r = row_of(s, row);
        out.output[i] = out.radius[i] = out.bound[i] = 0;
        out.alternative[i] = quiet_nan();
        if (r.visible == 0) return;
        const WeightRow& w = rows[row];
        const RowConstants constants = row_constants(s, a, r.visible);
        const Totals t = totals_of(s, r, row, d, v, blocks);
        const double keep = 1 - w.drift, divided = constants.sum_error + 4 * u;
        const double known = magnitude_of(t.shadow - t.output), drift = t.drift / keep;
        const Numerator n = numerator(s, a, r, w, constants, t);
        const double sum = divided * (magnitude_of(t.shadow) + drift);
        const double own = (static_cast<double>(r.visible) + 256) * 0x1p-52 * t.value_max;
        const double lost = flushed * (s.bf16 ? 1 + t.value_max : 1);
        const double radius = known + drift + (n.error + sum) / (1 - divided) + own + lost;
        const double stored = max_of(magnitude_of(t.output) + radius, normal_min(s.bf16));
        out.output[i] = t.output;
        out.radius[i] = radius;
        out.alternative[i] = alternative_of(w, t);
        out.bound[i] = radius + rounding_unit(s.bf16) * stored;
        const bool valid = w.drift < guard_limit && constants.sum_error < guard_limit &&
                           divided < guard_limit && n.gamma < guard_limit && is_finite(radius);
        if (!valid) or_into(&v.flags[row], no_bound);
      });
}

// The row is finite, and neither its sums with keys nor its factors leave binary32.
TWIN_FN bool in_reach(const Shape& s, const uint16_t* q, double key_max) {
  if (!s.bf16) return true;
  const double factor = s.scale * log2e;
  double largest = 0;
  for (int64_t i = 0; i < s.head_size; i++)
    largest = max_of(largest, magnitude_of(element_value(true, q[i])));
  if (largest * key_max * static_cast<double>(s.head_size) >= f32_room) return false;
  return exponent_of(largest) + exponent_of(factor) < 60;
}

inline void bound_rows(Stream stream, const Shape& s, const Arithmetic& a, const uint16_t* q,
                       const Values& v, const WeightRow* rows, const Bound& out) {
  for_each(
      stream, static_cast<uint64_t>(s.rows), TWIN_LOOP(uint64_t i) {
        const Row r = row_of(s, static_cast<int64_t>(i));
        out.guarded[i] = 0;
        out.lse_bound[i] = out.value_max[i] = 0;
        out.lse[i] = -infinity();
        if (r.visible == 0) return;
        const WeightRow& w = rows[i];
        const RowConstants constants = row_constants(s, a, r.visible);
        const double lse = ln2 * w.log_sum, tokens = static_cast<double>(r.visible);
        const double of_sum =
            w.anchor + w.drift / (1 - w.drift) + constants.sum_error / (1 - constants.sum_error);
        const double rounded =
            ln2 * log2_error(log2_of(tokens)) + (4 * u + 0x1p-44) * magnitude_of(lse) * (1 + u16);
        const double apart = ln2 * magnitude_of(w.shadow_log_sum - w.log_sum);
        out.lse[i] = lse;
        out.value_max[i] = max_of(double_of(v.value_max[i]), normal_min(s.bf16));
        out.lse_bound[i] = (apart + of_sum) * (1 + 8 * u) + rounded + flushed;
        const double factor = magnitude_of(s.scale * log2e);
        const bool in_range = factor == 0 || (factor > 0x1p-80 && factor < 0x1p40);
        const uint32_t flags = v.flags[i];
        const bool finite =
            in_range && (flags & not_finite) == 0 && out.value_max[i] * tokens < f32_room;
        const bool valid =
            finite && (flags & no_bound) == 0 && is_finite(out.lse_bound[i]) &&
            in_reach(s, q + i * static_cast<uint64_t>(s.head_size), double_of(v.key_max[i]));
        out.guarded[i] = valid ? 0 : 1;
      });
}

// ---- acceptance ----

constexpr double near_overflow = 0x1p15;
constexpr double barely_rejected = 1 + 0x1p-10;

TWIN_FN double class_ratio(double value, double reference, bool may_overflow) {
  const bool is_infinite = magnitude_of(value) == infinity();
  const bool is_near = magnitude_of(reference) >= near_overflow && (value < 0) == (reference < 0);
  const bool overflowed = is_infinite && (may_overflow || is_near);
  const bool same = is_finite(reference)
                        ? is_finite(value) || overflowed
                        : value == reference || (is_nan(value) && is_nan(reference));
  return same ? 0 : infinity();
}

TWIN_FN double ratio_of(bool accepted, double value, double reference, double bound) {
  const double ratio = value == reference ? 0 : magnitude_of(value - reference) / bound;
  if (accepted) return is_nan(ratio) ? 1 : min_of(ratio, 1);
  return is_nan(ratio) ? infinity() : max_of(ratio, barely_rejected);
}

TWIN_FN double output_ratio(const Shape& s, const Bound& b, int64_t i, double value) {
  if (b.guarded[i / s.head_size] == 1) {
    const bool infinite = magnitude_of(b.output[i]) == infinity();
    const double largest = b.value_max[i / s.head_size];
    const bool may_overflow = !s.bf16 && largest >= near_overflow && largest < infinity();
    if ((infinite && is_nan(value)) || value == b.alternative[i]) return 0;
    return class_ratio(value, b.output[i], may_overflow);
  }
  const double low = element_round(s.bf16, b.output[i] - b.radius[i]);
  const double high = element_round(s.bf16, b.output[i] + b.radius[i]);
  return ratio_of(value >= low && value <= high, value, b.output[i], b.bound[i]);
}

TWIN_FN double lse_ratio(const Bound& b, int64_t row, double value) {
  if (b.guarded[row] == 1) return class_ratio(value, b.lse[row], false);
  const bool accepted = value == b.lse[row] || magnitude_of(value - b.lse[row]) <= b.lse_bound[row];
  return ratio_of(accepted, value, b.lse[row], b.lse_bound[row]);
}

// *worst: bits of the largest ratio; *rejected: elements with more than 1.
inline void accept(Stream stream, const Shape& s, const Bound& b, const uint16_t* output,
                   const float* lse, uint64_t* worst, uint64_t* rejected) {
  const int64_t elements = s.rows * s.head_size;
  for_each(
      stream, static_cast<uint64_t>(elements + s.rows), TWIN_LOOP(uint64_t i) {
        const int64_t at = static_cast<int64_t>(i), row = at - elements;
        const double ratio = row < 0 ? output_ratio(s, b, at, element_value(s.bf16, output[at]))
                                     : lse_ratio(b, row, static_cast<double>(lse[row]));
        max_into(worst, bits_of(ratio));
        add_into(rejected, ratio <= 1 ? 0 : 1);
      });
}

}  // namespace kvproof_reference
