// device_arithmetic.h - scalar arithmetic of device.h on a CPU, with the bits of the hardware.
// Include device.h instead.
//
// Ordinary C++ compiled with -ffp-contract=off, which IEEE 754 then defines to the bit, with the
// hardware's one NaN. special.cpp has the functions that the hardware approximates.
#pragma once
#include <stdint.h>

#include "runtime.h"

#define DEV_FN inline __attribute__((always_inline))

struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
DEV_FN uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
DEV_FN uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
DEV_FN float2 make_float2(float x, float y) { return {x, y}; }
DEV_FN float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace dev {

// ---- f32 arithmetic ----
DEV_FN uint32_t bits_from_f32(float a) { return __builtin_bit_cast(uint32_t, a); }
DEV_FN float f32_from_bits(uint32_t a) { return __builtin_bit_cast(float, a); }
// The one NaN of the hardware's f32 units, whatever NaN came in.
DEV_FN float one_nan(float a) {
  return __builtin_expect(a == a, 1) ? a : f32_from_bits(0x7fffffffu);
}

DEV_FN float fma_rn(float a, float b, float c) { return one_nan(__builtin_fmaf(a, b, c)); }
DEV_FN float add_rn(float a, float b) { return one_nan(a + b); }
DEV_FN float sub_rn(float a, float b) { return one_nan(a - b); }
DEV_FN float mul_rn(float a, float b) { return one_nan(a * b); }
DEV_FN float div_rn(float a, float b) { return one_nan(a / b); }
// max.f32 and min.f32: a NaN operand loses, -0 < +0. Without branches on values, which a processor
// cannot predict; of two zeros the comparison returns the second, once each.
DEV_FN float max_num(float a, float b) {
  if (__builtin_expect(__builtin_isunordered(a, b), 0)) return a == a ? a : one_nan(b);
  const float first = a > b ? a : b, second = b > a ? b : a;
  return f32_from_bits(bits_from_f32(first) & bits_from_f32(second));
}
DEV_FN float min_num(float a, float b) {
  if (__builtin_expect(__builtin_isunordered(a, b), 0)) return a == a ? a : one_nan(b);
  const float first = a < b ? a : b, second = b < a ? b : a;
  return f32_from_bits(bits_from_f32(first) | bits_from_f32(second));
}
DEV_FN float floor_f32(float a) { return one_nan(__builtin_floorf(a)); }
DEV_FN float trunc_toward_zero(float a) { return one_nan(__builtin_truncf(a)); }
DEV_FN float rint_even(float a) { return one_nan(__builtin_rintf(a)); }
// cvt.rzi.s32.f32: toward zero, saturating, NaN gives 0.
DEV_FN int32_t i32_from_f32(float a) {
  if (!(a == a)) return 0;
  if (a >= 2147483648.0f) return INT32_MAX;
  return a <= -2147483648.0f ? INT32_MIN : static_cast<int32_t>(a);
}
DEV_FN float ex2(float x) { return simt_ex2(x); }
DEV_FN float rcp(float x) { return simt_rcp(x); }
DEV_FN float lg2(float x) { return simt_lg2(x); }

// ---- f16 ----
// Four halves at a time, by the processor's own conversions where it has them (kernels are compiled
// for x86-64-v3): g++ 12 compares two _Float16 by a call into libgcc.
#ifdef __F16C__
typedef short simt_i16x8 __attribute__((vector_size(16)));
DEV_FN simt_f32x4 f32x4_from_half2(uint32_t a, uint32_t b) {
  return __builtin_ia32_vcvtph2ps(reinterpret_cast<simt_i16x8>(simt_u32x4{a, b, 0, 0}));
}
// The first two elements, as two halves.
DEV_FN uint32_t half2_from_f32x4(simt_f32x4 a) {
  constexpr int kNearestEven = 0;
  return reinterpret_cast<simt_u32x4>(__builtin_ia32_vcvtps2ph(a, kNearestEven))[0];
}
#else
DEV_FN simt_f32x4 f32x4_from_half2(uint32_t a, uint32_t b) {
  const auto half = [](uint32_t h) {
    return static_cast<float>(__builtin_bit_cast(_Float16, static_cast<uint16_t>(h)));
  };
  return simt_f32x4{half(a), half(a >> 16), half(b), half(b >> 16)};
}
DEV_FN uint32_t half2_from_f32x4(simt_f32x4 a) {
  const auto half = [](float f) {
    return uint32_t{__builtin_bit_cast(uint16_t, static_cast<_Float16>(f))};
  };
  return half(a[0]) | half(a[1]) << 16;
}
#endif
// 0x8000 for each half that is a NaN: 0x7c01 + 0x3ff carries into the sign's place.
DEV_FN uint32_t nan_halves(uint32_t a) { return ((a & 0x7fff7fffu) + 0x03ff03ffu) & 0x80008000u; }
// The one NaN of the f16 units is 0x7fff.
DEV_FN uint32_t one_nan_each(uint32_t a) {
  const uint32_t nan = nan_halves(a);
  if (__builtin_expect(nan != 0, 0)) {
    const uint32_t whole = (nan >> 15) * 0xffffu;
    return (a & ~whole) | (whole & 0x7fff7fffu);
  }
  return a;
}
DEV_FN uint32_t h2pack(float lo, float hi) {
  return one_nan_each(half2_from_f32x4(simt_f32x4{lo, hi, 0, 0}));
}
DEV_FN float2 h2unpack(uint32_t a) {
  const simt_f32x4 x = f32x4_from_half2(a, 0);
  if (__builtin_expect(nan_halves(a) != 0, 0)) return {one_nan(x[0]), one_nan(x[1])};
  return {x[0], x[1]};
}
DEV_FN float f32_from_f16(uint16_t a) { return h2unpack(a).x; }
DEV_FN uint16_t f16_from_f32(float a) { return static_cast<uint16_t>(h2pack(a, 0)); }
// The product of two halves is exact in f32, so one rounding remains: that of the f16 multiplier.
DEV_FN uint32_t h2mul(uint32_t a, uint32_t b) {
  return one_nan_each(half2_from_f32x4(f32x4_from_half2(a, 0) * f32x4_from_half2(b, 0)));
}
// As integers: halves that are not negative are in their order, negative ones are once all but
// their sign is inverted (-0 below +0).
DEV_FN uint32_t h2max(uint32_t a, uint32_t b) {
  typedef short Halves __attribute__((vector_size(16)));
  const auto ordered = [](Halves h) { return h ^ ((h >> 15) & 0x7fff); };
  const Halves x = reinterpret_cast<Halves>(simt_u32x4{a, 0, 0, 0});
  const Halves y = reinterpret_cast<Halves>(simt_u32x4{b, 0, 0, 0});
  const uint32_t nan = nan_halves(a) | nan_halves(b);
  if (__builtin_expect(((a | b) & 0x80008000u) == 0 && nan == 0, 1)) {
    return reinterpret_cast<simt_u32x4>(x > y ? x : y)[0];
  }
  if (nan != 0) {
    const float2 u = h2unpack(a), v = h2unpack(b);
    return h2pack(max_num(u.x, v.x), max_num(u.y, v.y));
  }
  const Halves p = ordered(x), q = ordered(y);
  return reinterpret_cast<simt_u32x4>(ordered(p > q ? p : q))[0];
}
// min x = -max(-x), for -0 and +0 too; of two NaN the one NaN.
DEV_FN uint32_t h2min(uint32_t a, uint32_t b) {
  constexpr uint32_t signs = 0x80008000u;
  return one_nan_each(h2max(a ^ signs, b ^ signs) ^ signs);
}

// ---- bf16 ----
// cvt.rn: to nearest even, the one NaN is 0x7fff.
DEV_FN uint16_t bf16_from_f32(float a) {
  const uint32_t bits = bits_from_f32(a);
  return a == a ? static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)
                : uint16_t{0x7fff};
}
DEV_FN float f32_from_bf16(uint16_t a) {
  return one_nan(f32_from_bits(static_cast<uint32_t>(a) << 16));
}
DEV_FN uint32_t bf2pack(float lo, float hi) {
  return bf16_from_f32(lo) | static_cast<uint32_t>(bf16_from_f32(hi)) << 16;
}
DEV_FN float2 bf2unpack(uint32_t a) {
  return {f32_from_bf16(static_cast<uint16_t>(a)), f32_from_bf16(static_cast<uint16_t>(a >> 16))};
}

}  // namespace dev
