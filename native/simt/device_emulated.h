// device_emulated.h - the emulated side of device.h. Include device.h instead.
//
// Scalar arithmetic is ordinary C++ (compiled with -ffp-contract=off, which IEEE 754 then defines
// to the bit), with the hardware's NaN; everything that involves other threads is a call into
// runtime.h. Accumulators pass by value: an array whose address escaped would make the checked
// build instrument every access to it.
#pragma once
#include <string.h>

#include <tuple>

#include "runtime.h"

#define DEV_FN inline __attribute__((always_inline))
#define DEV_KERNEL(threads) void
#define DEV_UNROLL
#define DEV_SITE simt_here(__builtin_FILE(), __builtin_LINE())
#define DEV_SHARED(T, name) \
  T& name = *static_cast<T*>(simt_static_shared(sizeof(T), alignof(T), #name, DEV_SITE))
#define DEV_DYN_SHARED(T, name, align) \
  T* name = static_cast<T*>(simt_dynamic_shared(align, DEV_SITE))

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

// ---- position ----
DEV_FN uint32_t thread_x() { return simt_thread_x(); }
DEV_FN uint32_t block_x() { return simt_block(0); }
DEV_FN uint32_t block_y() { return simt_block(1); }
DEV_FN uint32_t block_z() { return simt_block(2); }
DEV_FN uint32_t grid_x() { return simt_grid_x(); }

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
// The one NaN of the f16 units is 0x7fff.
DEV_FN uint32_t h2pack(float lo, float hi) {
  uint32_t packed = half2_from_f32x4(simt_f32x4{lo, hi, 0, 0});
  if (__builtin_expect(__builtin_isunordered(lo, hi), 0)) {
    if (lo != lo) packed = (packed & 0xffff0000u) | 0x7fffu;
    if (hi != hi) packed = (packed & 0xffffu) | 0x7fff0000u;
  }
  return packed;
}
DEV_FN float2 h2unpack(uint32_t a) {
  const simt_f32x4 x = f32x4_from_half2(a, 0);
  return {one_nan(x[0]), one_nan(x[1])};
}
DEV_FN float f32_from_f16(uint16_t a) { return one_nan(f32x4_from_half2(a, 0)[0]); }
DEV_FN uint16_t f16_from_f32(float a) { return static_cast<uint16_t>(h2pack(a, 0)); }
// The product of two halves is exact in f32, so one rounding remains: that of the f16 multiplier.
DEV_FN uint32_t h2mul(uint32_t a, uint32_t b) {
  const simt_f32x4 x = f32x4_from_half2(a, b);
  return h2pack(x[0] * x[2], x[1] * x[3]);
}
DEV_FN uint32_t h2max(uint32_t a, uint32_t b) {
  const simt_f32x4 x = f32x4_from_half2(a, b);
  return h2pack(max_num(x[0], x[2]), max_num(x[1], x[3]));
}

// ---- warp ----
DEV_FN void mma_f16_f32(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                        uint32_t b0, uint32_t b1, simt_site at = DEV_SITE) {
  const simt_f32x4 d =
      simt_mma_f16_f32(simt_f32x4{c[0], c[1], c[2], c[3]}, a0, a1, a2, a3, b0, b1, at);
  c[0] = d[0];
  c[1] = d[1];
  c[2] = d[2];
  c[3] = d[3];
}
DEV_FN uint32_t movmatrix_trans(uint32_t x, simt_site at = DEV_SITE) {
  return simt_movmatrix_trans(x, at);
}
DEV_FN float shfl_xor(float v, int offset, simt_site at = DEV_SITE) {
  return f32_from_bits(simt_shfl_xor(bits_from_f32(v), offset, ~0u, at));
}
DEV_FN uint32_t shfl_xor(uint32_t v, int offset, simt_site at = DEV_SITE) {
  return simt_shfl_xor(v, offset, ~0u, at);
}
DEV_FN uint32_t vote_ballot(bool p, simt_site at = DEV_SITE) {
  return simt_vote(SIMT_VOTE_BALLOT, p, ~0u, at);
}
DEV_FN bool vote_any(bool p, simt_site at = DEV_SITE) {
  return simt_vote(SIMT_VOTE_ANY, p, ~0u, at) != 0;
}
DEV_FN bool vote_all(bool p, simt_site at = DEV_SITE) {
  return simt_vote(SIMT_VOTE_ALL, p, ~0u, at) != 0;
}
DEV_FN void syncwarp(uint32_t mask = ~0u, simt_site at = DEV_SITE) { simt_syncwarp(mask, at); }

// ---- block ----
DEV_FN void syncthreads(simt_site at = DEV_SITE) { simt_syncthreads(at); }
// A barrier after which nothing reads what [p, p + bytes) held before; the emulator marks the
// region as never written, so that data of an earlier use cannot hide a missing write.
DEV_FN void syncthreads_fresh(void* p, size_t bytes, simt_site at = DEV_SITE) {
  simt_syncthreads_fresh(p, bytes, at);
}

// ---- asynchronous copies ----
DEV_FN void mbar_init(uint64_t* bar, uint32_t count, simt_site at = DEV_SITE) {
  simt_mbar_init(bar, count, at);
}
DEV_FN void mbar_arrive_expect_tx(uint64_t* bar, uint32_t bytes, simt_site at = DEV_SITE) {
  simt_mbar_arrive_expect_tx(bar, bytes, at);
}
// Waits until phase number `phase` (0, 1, 2, ...) has completed. The hardware looks at its parity
// alone; the emulator checks the whole number.
DEV_FN void mbar_wait(uint64_t* bar, uint32_t phase, simt_site at = DEV_SITE) {
  simt_mbar_wait(bar, phase, at);
}
DEV_FN void fence_mbar_init(simt_site at = DEV_SITE) { simt_fence(SIMT_FENCE_MBARRIER_INIT, at); }
DEV_FN void fence_proxy_async(simt_site at = DEV_SITE) { simt_fence(SIMT_FENCE_PROXY_ASYNC, at); }
// cp.async.bulk: `bytes`, dst and src are multiples of 16; bar counts the bytes when they land.
DEV_FN void bulk_g2s(void* dst, const void* src, uint32_t bytes, uint64_t* bar,
                     simt_site at = DEV_SITE) {
  simt_bulk_g2s(dst, src, bytes, bar, at);
}
// cp.async: 16 bytes, both addresses multiples of 16; waited for by the thread that issued it.
DEV_FN void cp_async16(void* dst, const void* src, simt_site at = DEV_SITE) {
  simt_cp_async16(dst, src, at);
}
DEV_FN void cp_async_commit(simt_site at = DEV_SITE) { simt_cp_async_commit(at); }
// Waits until at most `pending` of this thread's newest groups are still on their way.
template <int pending>
DEV_FN void cp_async_wait(simt_site at = DEV_SITE) {
  simt_cp_async_wait(pending, at);
}

// ---- host side ----
inline Status device_facts(DeviceFacts& facts) {
  simt_device_facts(&facts.sm, &facts.multiprocessors);
  return Status{};
}

template <class... P, class... A>
Status launch(void (*kernel)(P...), const Launch& shape, A... args) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> args;
  } call{kernel, std::tuple<P...>(static_cast<P>(args)...)};
  const auto body = [](void* p) {
    Call& c = *static_cast<Call*>(p);
    std::apply(c.kernel, c.args);
  };
  const simt_launch_shape s{shape.grid.x, shape.grid.y, shape.grid.z, shape.threads,
                            shape.smem_bytes};
  Status status;
  status.code = static_cast<kvp_status>(
      simt_launch(&s, body, &call, sizeof call, status.text, sizeof status.text));
  return status;
}

}  // namespace dev
