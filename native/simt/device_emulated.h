// device_emulated.h - the emulated side of device.h. Include device.h instead.
//
// Scalar arithmetic is ordinary C++ (compiled with -ffp-contract=off, which IEEE 754 then defines
// to the bit), with the hardware's NaN; everything that involves other threads is a call into
// runtime.h. Accumulators pass by value: an array whose address escaped would make the checked
// build instrument every access to it.
#pragma once
#include <string.h>

#include <tuple>

#include "device_arithmetic.h"
#include "launch_bound.h"
#include "runtime.h"

#define DEV_KERNEL(threads) SIMT_LAUNCH_BOUND(threads) void
#define DEV_KERNEL_BLOCKS(threads, blocks) SIMT_LAUNCH_BOUND(threads) void
#define DEV_UNROLL
#define DEV_UNROLL_BY(times) static_assert((times) > 0, "a loop is unrolled at least once");
#define DEV_SITE simt_here(__builtin_FILE(), __builtin_LINE())
#define DEV_SHARED(T, name) \
  T& name = *static_cast<T*>(simt_static_shared(sizeof(T), alignof(T), #name, DEV_SITE))
#define DEV_DYN_SHARED(T, name, align) \
  T* name = static_cast<T*>(simt_dynamic_shared(align, DEV_SITE))

namespace dev {

// ---- position ----
DEV_FN uint32_t thread_x() { return simt_thread_x(); }
DEV_FN uint32_t block_x() { return simt_block(0); }
DEV_FN uint32_t block_y() { return simt_block(1); }
DEV_FN uint32_t block_z() { return simt_block(2); }
DEV_FN uint32_t grid_x() { return simt_grid_x(); }

// ---- warp: every lane of the mask calls the same function at the same line ----
// Four accumulators as one vector. Instrumented code takes them one by one: through a pointer of
// another type they would be memory, and every access to them reported.
#ifdef __SANITIZE_THREAD__
DEV_FN simt_f32x4 mma_sums(const float (&c)[4]) { return simt_f32x4{c[0], c[1], c[2], c[3]}; }
DEV_FN void set_mma_sums(float (&c)[4], simt_f32x4 sums) {
  for (int i = 0; i < 4; i++) c[i] = sums[i];
}
#else
DEV_FN simt_f32x4 mma_sums(const float (&c)[4]) {
  return reinterpret_cast<const simt_f32x4_at_4&>(c);
}
DEV_FN void set_mma_sums(float (&c)[4], simt_f32x4 sums) {
  reinterpret_cast<simt_f32x4_at_4&>(c) = sums;
}
#endif
DEV_FN void mma_f16_f32(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                        uint32_t b0, uint32_t b1, simt_site at = DEV_SITE) {
  simt_mma_f16_f32(mma_sums(c), a0, a1, a2, a3, b0, b1, at);
  set_mma_sums(c, simt_mma_result());
}
DEV_FN void mma_bf16_f32(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                         uint32_t b0, uint32_t b1, simt_site at = DEV_SITE) {
  simt_mma_bf16_f32(mma_sums(c), a0, a1, a2, a3, b0, b1, at);
  set_mma_sums(c, simt_mma_result());
}
DEV_FN void mma_f16_f16(uint32_t (&c)[2], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                        uint32_t b0, uint32_t b1, simt_site at = DEV_SITE) {
  simt_mma_f16_f16(c[0] | static_cast<uint64_t>(c[1]) << 32, a0, a1, a2, a3, b0, b1, at);
  const uint64_t d = simt_mma_f16_result();
  c[0] = static_cast<uint32_t>(d);
  c[1] = static_cast<uint32_t>(d >> 32);
}
DEV_FN uint32_t movmatrix_trans(uint32_t x, simt_site at = DEV_SITE) {
  simt_movmatrix_trans(x, at);
  return simt_result();
}
// 1, 2 or 4 matrices of 8x8 halves; lane 8j + i gives the address of row i of matrix j.
template <int N>
DEV_FN void ldmatrix(uint32_t (&r)[N], const void* row, simt_site at = DEV_SITE) {
  static_assert(N == 1 || N == 2 || N == 4);
  simt_ldmatrix(N, false, row, at);
  const simt_u32x4 d = simt_ldmatrix_result();
  for (int i = 0; i < N; i++) r[i] = d[i];
}
template <int N>
DEV_FN void ldmatrix_trans(uint32_t (&r)[N], const void* row, simt_site at = DEV_SITE) {
  static_assert(N == 1 || N == 2 || N == 4);
  simt_ldmatrix(N, true, row, at);
  const simt_u32x4 d = simt_ldmatrix_result();
  for (int i = 0; i < N; i++) r[i] = d[i];
}
#define DEV_SHFL(name, kind)                                                                    \
  DEV_FN uint32_t name(uint32_t v, int operand, uint32_t mask = ~0u, simt_site at = DEV_SITE) { \
    simt_shfl(kind, v, operand, mask, at);                                                      \
    return simt_result();                                                                       \
  }                                                                                             \
  DEV_FN float name(float v, int operand, uint32_t mask = ~0u, simt_site at = DEV_SITE) {       \
    simt_shfl(kind, bits_from_f32(v), operand, mask, at);                                       \
    return f32_from_bits(simt_result());                                                        \
  }
DEV_SHFL(shfl_xor, SIMT_SHFL_XOR)
DEV_SHFL(shfl_up, SIMT_SHFL_UP)
DEV_SHFL(shfl_down, SIMT_SHFL_DOWN)
DEV_SHFL(shfl, SIMT_SHFL_INDEX)
#undef DEV_SHFL
DEV_FN uint32_t redux_add(uint32_t v, uint32_t mask = ~0u, simt_site at = DEV_SITE) {
  simt_redux(SIMT_REDUX_ADD, v, mask, at);
  return simt_result();
}
DEV_FN uint32_t redux_min(uint32_t v, uint32_t mask = ~0u, simt_site at = DEV_SITE) {
  simt_redux(SIMT_REDUX_MIN, v, mask, at);
  return simt_result();
}
DEV_FN uint32_t redux_max(uint32_t v, uint32_t mask = ~0u, simt_site at = DEV_SITE) {
  simt_redux(SIMT_REDUX_MAX, v, mask, at);
  return simt_result();
}
DEV_FN uint32_t vote_ballot(bool p, uint32_t mask = ~0u, simt_site at = DEV_SITE) {
  simt_vote(p, mask, at);
  return simt_result();
}
DEV_FN bool vote_any(bool p, uint32_t mask = ~0u, simt_site at = DEV_SITE) {
  return vote_ballot(p, mask, at) != 0;
}
DEV_FN bool vote_all(bool p, uint32_t mask = ~0u, simt_site at = DEV_SITE) {
  return vote_ballot(p, mask, at) == mask;
}
DEV_FN void syncwarp(uint32_t mask = ~0u, simt_site at = DEV_SITE) { simt_syncwarp(mask, at); }

// ---- atomics: relaxed, at device scope; they return the value before ----
DEV_FN uint32_t atomic_load(const uint32_t* p, simt_site at = DEV_SITE) {
  return simt_atomic(SIMT_ATOMIC_LOAD, const_cast<uint32_t*>(p), 0, 0, at);
}
DEV_FN void atomic_store(uint32_t* p, uint32_t v, simt_site at = DEV_SITE) {
  simt_atomic(SIMT_ATOMIC_STORE, p, v, 0, at);
}
DEV_FN uint32_t atomic_add(uint32_t* p, uint32_t v, simt_site at = DEV_SITE) {
  return simt_atomic(SIMT_ATOMIC_ADD, p, v, 0, at);
}
DEV_FN float atomic_add(float* p, float v, simt_site at = DEV_SITE) {
  return f32_from_bits(
      simt_atomic(SIMT_ATOMIC_ADD_F32, reinterpret_cast<uint32_t*>(p), bits_from_f32(v), 0, at));
}
DEV_FN uint32_t atomic_min(uint32_t* p, uint32_t v, simt_site at = DEV_SITE) {
  return simt_atomic(SIMT_ATOMIC_MIN, p, v, 0, at);
}
DEV_FN uint32_t atomic_max(uint32_t* p, uint32_t v, simt_site at = DEV_SITE) {
  return simt_atomic(SIMT_ATOMIC_MAX, p, v, 0, at);
}
DEV_FN uint32_t atomic_exchange(uint32_t* p, uint32_t v, simt_site at = DEV_SITE) {
  return simt_atomic(SIMT_ATOMIC_EXCHANGE, p, v, 0, at);
}
DEV_FN uint32_t atomic_compare_exchange(uint32_t* p, uint32_t compare, uint32_t v,
                                        simt_site at = DEV_SITE) {
  return simt_atomic(SIMT_ATOMIC_COMPARE, p, v, compare, at);
}
// Releases what was written before to whoever sees a later atomic of this thread, and acquires what
// was released to an atomic before it.
DEV_FN void threadfence(simt_site at = DEV_SITE) { simt_threadfence(at); }

// ---- block ----
DEV_FN void syncthreads(simt_site at = DEV_SITE) { simt_syncthreads(at); }
// Named barriers 1 to 15: `threads`, whole warps, arrive; those in barrier_sync wait for all.
DEV_FN void barrier_sync(uint32_t id, uint32_t threads, simt_site at = DEV_SITE) {
  simt_barrier(id, threads, true, at);
}
DEV_FN void barrier_arrive(uint32_t id, uint32_t threads, simt_site at = DEV_SITE) {
  simt_barrier(id, threads, false, at);
}
// A barrier after which nothing reads what [p, p + bytes) held before; the emulator marks the
// region as never written, so that data of an earlier use cannot hide a missing write.
DEV_FN void syncthreads_fresh(void* p, size_t bytes, simt_site at = DEV_SITE) {
  simt_syncthreads_fresh(p, bytes, at);
}

// ---- launches that overlap: nothing to do, the emulator runs one after another ----
DEV_FN void allow_next_launch() {}
DEV_FN void wait_for_previous_launch() {}

// ---- asynchronous copies ----
DEV_FN void mbar_init(uint64_t* bar, uint32_t count, simt_site at = DEV_SITE) {
  simt_mbar_init(bar, count, at);
}
DEV_FN void mbar_arrive(uint64_t* bar, simt_site at = DEV_SITE) { simt_mbar_arrive(bar, at); }
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
DEV_FN void bulk_g2s(void* dst, const void* src, uint32_t bytes, uint64_t* bar, bool = false,
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
  const simt_launch_shape s{reinterpret_cast<const void*>(kernel),
                            shape.grid.x,
                            shape.grid.y,
                            shape.grid.z,
                            shape.threads,
                            shape.smem_bytes,
                            simt_launch_bound(reinterpret_cast<const void*>(kernel))};
  Status status;
  status.code = static_cast<kvp_status>(
      simt_launch(&s, body, &call, sizeof call, status.text, sizeof status.text));
  return status;
}

}  // namespace dev
