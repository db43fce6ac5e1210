// kernels_test_reference.h - for kernels_test.cpp: K and V quantised again in scalar C++, attention
// over them in double, and how far a right kernel may be off.
//
// The allowed error is first order, worst case and simple; reference/bound.ts has the sharp one,
// with proofs. u = 2^-24, h = 2^-11; gamma: relative error of a chain of tensor-core sums, 1.05e-5
// on sm_80 and less later; a code counts as at least 2^10 of its units in such a sum, because
// operands are aligned as if they were normal.
#pragma once
#include "kernels_test_run.h"

namespace kernels_test {

// One request and KV head, dequantised; the tail is as it was. All (tokens, D).
struct Rows {
  std::vector<double> k, v, k_scale, v_scale, k_zero, v_zero;  // scales are 0 in the tail
  std::vector<uint8_t> k_code, v_code;
};

// The spec of the format (quantize_pack.cu) for one group of values x[0], x[stride], ...
inline void quantize_group(const double* x, size_t stride, uint32_t count, uint32_t bits,
                           double* value, double* scale, double* zero, uint8_t* code) {
  double low = INFINITY, high = -INFINITY;
  for (uint32_t i = 0; i < count; i++) {
    low = fmin(low, x[i * stride]);
    high = fmax(high, x[i * stride]);
  }
  const float range = static_cast<float>(high) - static_cast<float>(low);
  const float code_max = static_cast<float>((1 << bits) - 1);
  const float inverse = range > 0 ? code_max / range : 0;
  const double s = inverse == 0 ? 0 : static_cast<double>(static_cast<_Float16>(1 / inverse));
  const double z = static_cast<double>(static_cast<_Float16>(static_cast<float>(low)));
  for (uint32_t i = 0; i < count; i++) {
    const float t = (static_cast<float>(x[i * stride]) - static_cast<float>(low)) * inverse;
    const double rounded = fmin(roundf(t), code_max);
    code[i * stride] = static_cast<uint8_t>(rounded);
    value[i * stride] = rounded * s + z;
    scale[i * stride] = s;
    zero[i * stride] = z;
  }
}

inline Rows quantized_rows(const Case& c, const Inputs& in, size_t first, size_t tokens,
                           uint32_t head) {
  Rows rows;
  const size_t channels = c.head_size, n = tokens * channels;
  const size_t packed = c.bits == 16 ? 0 : tokens / 128 * 128;
  for (auto* x : {&rows.k, &rows.v}) x->resize(n);
  for (size_t t = 0; t < tokens; t++) {
    for (size_t d = 0; d < channels; d++) {
      const size_t at = ((first + t) * c.kv_heads + head) * channels + d;
      rows.k[t * channels + d] = f64(in.k[at], c.is_bf16());
      rows.v[t * channels + d] = f64(in.v[at], c.is_bf16());
    }
  }
  rows.k_scale.assign(n, 0);
  rows.v_scale = rows.k_scale;
  rows.k_zero = rows.k;
  rows.v_zero = rows.v;
  rows.k_code.assign(n, 0);
  rows.v_code.assign(n, 0);
  const uint32_t channel_group = std::min(c.group, c.head_size);
  const auto along_channels = [&](std::vector<double>& x, std::vector<double>& scale,
                                  std::vector<double>& zero, std::vector<uint8_t>& code) {
    for (size_t i = 0; i < packed * channels; i += channel_group) {
      quantize_group(&x[i], 1, channel_group, c.bits, &x[i], &scale[i], &zero[i], &code[i]);
    }
  };
  along_channels(rows.v, rows.v_scale, rows.v_zero, rows.v_code);
  if (c.k_axis == KVP_AXIS_TOKEN) {
    along_channels(rows.k, rows.k_scale, rows.k_zero, rows.k_code);
    return rows;
  }
  for (size_t t = 0; t < packed; t += c.group) {
    for (size_t i = t * channels; i < (t + 1) * channels; i++) {
      quantize_group(&rows.k[i], channels, c.group, c.bits, &rows.k[i], &rows.k_scale[i],
                     &rows.k_zero[i], &rows.k_code[i]);
    }
  }
  return rows;
}

constexpr double u = 0x1p-24, h = 0x1p-11, gamma = 1.05e-5;

// What a row of attention must be, and by how much it may differ.
struct Expected {
  double output[256], output_error[256];
  double lse, lse_error;
};

// Score of a token in base-2 exponents and its error.
inline void expected_score(const Rows& rows, size_t channels, size_t t, const double* q, double k2,
                           double scale_max, double q_max, double& score, double& error) {
  double dot = 0, rounded = 0, aligned = 0, zeros = 0;
  for (size_t d = 0; d < channels; d++) {
    const size_t i = t * channels + d;
    dot += q[d] * rows.k[i];
    rounded += fabs(q[d] * (rows.k[i] - rows.k_zero[i]));
    aligned += fabs(q[d] * rows.k_scale[i]);
    zeros += fmax(fabs(q[d]), q_max * 0x1p-28) * fmax(fabs(rows.k_zero[i]), 0x1p-14);
  }
  const double subnormal =
      static_cast<double>(channels) * 15 * 65 * 0x1p-25 * 0x1p-12 * q_max * scale_max;
  score = k2 * dot;
  error = k2 * (2 * h * rounded + subnormal + gamma * (1024 * aligned + rounded + zeros) +
                16 * u * (fabs(dot) + rounded + zeros));
}

// tokens: the first so many of the rows are seen. lanes: partial sums that share the sums of a row.
inline Expected expected_row(const Case& c, const Rows& rows, size_t tokens, const double* q,
                             int lanes) {
  const size_t channels = c.head_size;
  const double softmax_scale = c.softmax_scale, output_rounding = c.is_bf16() ? 0x1p-8 : h;
  Expected e{};
  e.lse = -INFINITY;
  if (tokens == 0) return e;
  double q_max = 0, scale_max = 0, v_scale_max = 0;
  for (size_t d = 0; d < channels; d++) q_max = fmax(q_max, fabs(q[d]));
  for (double s : rows.k_scale) scale_max = fmax(scale_max, s);
  for (double s : rows.v_scale) v_scale_max = fmax(v_scale_max, s);
  const double log2e = 1.4426950408889634, k2 = fabs(softmax_scale) * log2e;
  std::vector<double> score(tokens), error(tokens);
  double top = -INFINITY, sum = 0;
  for (size_t t = 0; t < tokens; t++) {
    expected_score(rows, channels, t, q, k2, scale_max, q_max, score[t], error[t]);
    if (softmax_scale < 0) score[t] = -score[t];
    top = fmax(top, score[t]);
  }
  for (size_t t = 0; t < tokens; t++) sum += exp2(score[t] - top);
  // theta: relative error of a weight. Rescales round what they multiply: one a record, and ex2.
  // Records of 16-bit numbers rescale more often than packed ones.
  const double rescales = static_cast<double>(tokens) / (c.bits == 16 ? 16 : 128);
  const double chain = (rescales + 16) * 4 * u + 0x1p-21;
  double drift = 0, error_max = 0;
  std::vector<double> weight(tokens), theta(tokens);
  for (size_t t = 0; t < tokens; t++) {
    weight[t] = exp2(score[t] - top) / sum;
    theta[t] = expm1(fmin(50, 0.6931472 * (error[t] + 4 * u * (top - score[t])) + chain));
    drift += weight[t] * theta[t];
    error_max = fmax(error_max, 0.6931472 * error[t]);
  }
  const double adds = (static_cast<double>(tokens) / lanes + 40) * u;
  for (size_t d = 0; d < channels; d++) {
    double o = 0, moved = 0, magnitude = 0, scaled = 0, zeros = 0, tail = 0;
    for (size_t t = 0; t < tokens; t++) {
      const size_t i = t * channels + d;
      o += weight[t] * rows.v[i];
      moved += weight[t] * theta[t] * fabs(rows.v[i]);
      magnitude += weight[t] * fabs(rows.v[i] - (rows.v_scale[i] > 0 ? rows.v_zero[i] : 0));
      scaled += weight[t] * fmax(rows.v_scale[i], 0);
      zeros += weight[t] * fabs(rows.v_zero[i]);
      if (rows.v_scale[i] == 0) tail += 0x1p-40 * fabs(rows.v[i]) / sum;
    }
    const double lost =
        static_cast<double>(tokens) * 15 * 65 * 0x1p-25 * 0x1p-13 * v_scale_max / sum;
    const double inner = moved + fabs(o) * drift + h * magnitude + lost +
                         gamma * (1024 * scaled + magnitude) +
                         (adds + chain) * (magnitude + zeros + fabs(o)) + tail;
    e.output[d] = o;
    e.output_error[d] = 1.02 * inner + output_rounding * (fabs(o) + inner) + 0x1p-25;
  }
  e.lse = (top + log2(sum)) / log2e;
  // The logarithm of a sum moves by no more than the largest move of a score (theta is capped).
  e.lse_error = 1.02 * ((error_max < 40 ? log1p(drift) : error_max) + adds + chain) +
                4 * u * (fabs(top) + fabs(log2(sum))) + 0x1p-22;
  return e;
}

}  // namespace kernels_test
