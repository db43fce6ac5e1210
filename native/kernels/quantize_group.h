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

struct QuantizeArguments : CacheArguments {
  const uint16_t* k;  // (tokens of all requests, kv_heads, D); of append (requests, kv_heads, D)
  const uint16_t* v;  // as k
  Strides k_strides, v_strides;
  bool is_append;  // else quantize

  DEV_FN const uint16_t* source(bool is_v, size_t token, uint32_t kv_head) const {
    const Strides& strides = is_v ? v_strides : k_strides;
    return (is_v ? v : k) + token * strides.token + kv_head * strides.head;
  }
  DEV_FN size_t token_stride(bool is_v) const { return is_v ? v_strides.token : k_strides.token; }
};

// Everything but the requests.
inline QuantizeArguments quantize_arguments(const kvp_problem& p, const kvp_buffers& buffers) {
  QuantizeArguments args{};
  set_cache(args, p, buffers);
  args.k = buffers.k;
  args.v = buffers.v;
  args.k_strides = strides_of(p.k_token_stride, p.k_head_stride, p.kv_heads, p.head_size);
  args.v_strides = strides_of(p.v_token_stride, p.v_head_stride, p.kv_heads, p.head_size);
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

}  // namespace kvproof
