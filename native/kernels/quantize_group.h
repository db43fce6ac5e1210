// quantize_group.h - the arithmetic of one group of values, and what quantize and append are called
// with. Every step is rounded to f32 (reference/scheme.ts, "bitdecoding"):
//
//   max, min: a NaN loses, -0 < +0, starting from -Inf and +Inf;  range = max - min
//   inverse = range > 0 ? code_max / range : 0
//   code  = clamp(round((x - min) inverse), 0, code_max), halves away from zero, NaN gives 0
//   scale = RN16(inverse == 0 ? 0 : 1 / inverse),  zero = RN16(min)
//
// For every finite fp16 input range <= 131,008, so the scale is at most 43,669 and zero is exact;
// a range below code_max 2^-25 gives scale 0 beside codes that are not, and dequantises to zero.
// bf16 reaches further: beyond 65,520 zero is infinite, a range beyond f32 is a constant group, and
// one below code_max 2^-128 has an infinite inverse (codes 0 and code_max, scale 0).
#pragma once
#include "decode_arguments.h"

namespace kvproof {

struct QuantizeArguments {
  const uint16_t* k;     // (tokens of all requests, kv_heads, D); of append (requests, kv_heads, D)
  const uint16_t* v;     // as k
  uint8_t* cache;        // (pages, kv_heads, record)
  uint16_t* k_residual;  // (requests, 128, kv_heads, D)
  uint16_t* v_residual;  // as k_residual
  Strides k_strides, v_strides;
  PageTable pages;
  uint32_t kv_heads;
  uint32_t head_size;
  uint32_t group;
  bool k_per_token;
  bool is_bf16;
  bool is_append;  // else quantize
  RecordSizes record;
  RequestTable requests;

  DEV_FN const uint16_t* source(bool is_v, size_t token, uint32_t kv_head) const {
    const Strides& strides = is_v ? v_strides : k_strides;
    return (is_v ? v : k) + token * strides.token + kv_head * strides.head;
  }
  DEV_FN size_t token_stride(bool is_v) const { return is_v ? v_strides.token : k_strides.token; }
  // Token 0 of a residual window; tokens are kv_heads * D apart.
  DEV_FN uint16_t* window(bool is_v, uint32_t row, uint32_t kv_head) const {
    const size_t token = static_cast<size_t>(requests.first + row) * record_tokens;
    return (is_v ? v_residual : k_residual) + (token * kv_heads + kv_head) * head_size;
  }
  // The K half or V half of a record.
  DEV_FN uint8_t* half(bool is_v, uint32_t row, uint32_t record_index, uint32_t kv_head) const {
    const size_t page = pages.page(requests, row, record_index);
    return cache + (page * kv_heads + kv_head) * record.bytes() +
           (is_v ? record.k_half_bytes() : 0);
  }
  // Channels that share a scale and a zero, where parameters belong to a token.
  constexpr int channel_group() const {
    return static_cast<int>(group < head_size ? group : head_size);
  }
};

// Everything but the requests.
inline QuantizeArguments quantize_arguments(const kvp_problem& p, const kvp_buffers& buffers) {
  QuantizeArguments args{};
  args.k = buffers.k;
  args.v = buffers.v;
  args.cache = buffers.cache;
  args.k_residual = buffers.k_residual;
  args.v_residual = buffers.v_residual;
  args.k_strides = strides_of(p.k_token_stride, p.k_head_stride, p.kv_heads, p.head_size);
  args.v_strides = strides_of(p.v_token_stride, p.v_head_stride, p.kv_heads, p.head_size);
  args.pages = {p.page_table_stride == 0 ? nullptr : buffers.page_table, p.page_table_stride};
  args.kv_heads = p.kv_heads;
  args.head_size = p.head_size;
  args.group = p.group;
  args.k_per_token = p.k_axis == KVP_AXIS_TOKEN;
  args.is_bf16 = p.type == KVP_BF16;
  args.record = record_sizes(p.bits, p.group, p.head_size, p.k_axis);
  return args;
}

struct GroupParameters {
  float min, inverse;
  uint16_t scale, zero;  // fp16
};

DEV_FN GroupParameters group_parameters(float max, float min, int code_max) {
  GroupParameters p;
  const float range = dev::sub_rn(max, min);
  p.min = min;
  p.inverse = range > 0 ? dev::div_rn(static_cast<float>(code_max), range) : 0.0f;
  p.scale = p.inverse == 0 ? 0 : dev::f16_from_f32(dev::div_rn(1.0f, p.inverse));
  p.zero = dev::f16_from_f32(min);
  return p;
}

DEV_FN uint32_t scale_and_zero(const GroupParameters& p) {
  return p.scale | static_cast<uint32_t>(p.zero) << 16;
}

DEV_FN float f32_from_word(uint16_t word, bool is_bf16) {
  return is_bf16 ? dev::f32_from_bf16(word) : dev::f32_from_f16(word);
}

// Calls f with the bits of a format that supports() has accepted, as a constant.
template <int BITS>
struct Bits {
  static constexpr int value = BITS;
};
template <class F>
dev::Status with_bits(uint32_t bits, const F& f) {
  if (bits == 2) return f(Bits<2>{});
  if (bits == 4) return f(Bits<4>{});
  if (bits == 8) return f(Bits<8>{});
  return f(Bits<16>{});
}

}  // namespace kvproof
