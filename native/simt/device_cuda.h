// device_cuda.h - the CUDA side of device.h: inline PTX and intrinsics. Include device.h instead.
//
// asm that reads or writes shared memory carries a "memory" clobber; pure arithmetic does not, so
// that it can be scheduled. mbarrier and bulk-copy instructions exist from sm_90 on; code for an
// older architecture traps there, and the host code never launches it (see DeviceFacts). PTX
// ISA 9.0 describes every instruction under the name that is written here.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdio.h>

#define DEV_FN __device__ __forceinline__
#define DEV_KERNEL(threads) __global__ void __launch_bounds__(threads)
#define DEV_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define DEV_UNROLL _Pragma("unroll")
#define DEV_PRAGMA(text) _Pragma(#text)
#define DEV_UNROLL_BY(times) DEV_PRAGMA(unroll(times))
#define DEV_SHARED(T, name) __shared__ T name
#define DEV_DYN_SHARED(T, name, align) \
  extern __shared__ __align__(align)   \
  T name[]

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define DEV_SM90_ASM(...) asm volatile(__VA_ARGS__)
#else
#define DEV_SM90_ASM(...) __trap()
#endif

namespace dev {

// ---- position ----
DEV_FN uint32_t thread_x() { return threadIdx.x; }
DEV_FN uint32_t block_x() { return blockIdx.x; }
DEV_FN uint32_t block_y() { return blockIdx.y; }
DEV_FN uint32_t block_z() { return blockIdx.z; }
DEV_FN uint32_t grid_x() { return gridDim.x; }

// ---- f32 arithmetic ----
DEV_FN float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEV_FN float add_rn(float a, float b) { return __fadd_rn(a, b); }
DEV_FN float sub_rn(float a, float b) { return __fsub_rn(a, b); }
DEV_FN float mul_rn(float a, float b) { return __fmul_rn(a, b); }
DEV_FN float div_rn(float a, float b) { return __fdiv_rn(a, b); }
// max.f32 and min.f32: a NaN operand loses, -0 < +0.
DEV_FN float max_num(float a, float b) { return fmaxf(a, b); }
DEV_FN float min_num(float a, float b) { return fminf(a, b); }
DEV_FN float floor_f32(float a) { return floorf(a); }
DEV_FN float trunc_toward_zero(float a) { return truncf(a); }
DEV_FN float rint_even(float a) { return rintf(a); }
// cvt.rzi.s32.f32: toward zero, saturating, NaN gives 0.
DEV_FN int32_t i32_from_f32(float a) { return __float2int_rz(a); }
DEV_FN uint32_t bits_from_f32(float a) { return __float_as_uint(a); }
DEV_FN float f32_from_bits(uint32_t a) { return __uint_as_float(a); }
DEV_FN float ex2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(y) : "f"(x));
  return y;
}
DEV_FN float rcp(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0,%1;" : "=f"(y) : "f"(x));
  return y;
}

DEV_FN float lg2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0,%1;" : "=f"(y) : "f"(x));
  return y;
}

// ---- f16 ----
DEV_FN __half2 half2_from_bits(uint32_t a) { return *reinterpret_cast<__half2*>(&a); }
DEV_FN uint32_t bits_from_half2(__half2 a) { return *reinterpret_cast<uint32_t*>(&a); }
DEV_FN float f32_from_f16(uint16_t a) { return __half2float(__ushort_as_half(a)); }
DEV_FN uint16_t f16_from_f32(float a) { return __half_as_ushort(__float2half_rn(a)); }
DEV_FN uint32_t h2pack(float lo, float hi) { return bits_from_half2(__floats2half2_rn(lo, hi)); }
DEV_FN float2 h2unpack(uint32_t a) { return __half22float2(half2_from_bits(a)); }
DEV_FN uint32_t h2mul(uint32_t a, uint32_t b) {
  return bits_from_half2(__hmul2_rn(half2_from_bits(a), half2_from_bits(b)));
}
DEV_FN uint32_t h2max(uint32_t a, uint32_t b) {
  return bits_from_half2(__hmax2(half2_from_bits(a), half2_from_bits(b)));
}
DEV_FN uint32_t h2min(uint32_t a, uint32_t b) {
  return bits_from_half2(__hmin2(half2_from_bits(a), half2_from_bits(b)));
}

// ---- bf16 ----
DEV_FN __nv_bfloat162 bf2_from_bits(uint32_t a) { return *reinterpret_cast<__nv_bfloat162*>(&a); }
DEV_FN uint16_t bf16_from_f32(float a) { return __bfloat16_as_ushort(__float2bfloat16_rn(a)); }
DEV_FN float f32_from_bf16(uint16_t a) {
  // The conversion is a shift and keeps a NaN's payload; adding -0 makes it the one NaN.
  return __fadd_rn(__uint_as_float(static_cast<uint32_t>(a) << 16), -0.0f);
}
DEV_FN uint32_t bf2pack(float lo, float hi) {
  const __nv_bfloat162 packed = __floats2bfloat162_rn(lo, hi);
  return *reinterpret_cast<const uint32_t*>(&packed);
}
DEV_FN float2 bf2unpack(uint32_t a) {
  return make_float2(f32_from_bf16(static_cast<uint16_t>(a)),
                     f32_from_bf16(static_cast<uint16_t>(a >> 16)));
}

// ---- warp: every lane of the mask calls the same function at the same line ----
DEV_FN uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
DEV_FN void mma_f16_f32(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                        uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
DEV_FN void mma_bf16_f32(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                         uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
DEV_FN void mma_f16_f16(uint32_t (&c)[2], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                        uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1},{%2,%3,%4,%5},{%6,%7},{%0,%1};"
      : "+r"(c[0]), "+r"(c[1])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
DEV_FN uint32_t movmatrix_trans(uint32_t x) {
  uint32_t y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0,%1;" : "=r"(y) : "r"(x));
  return y;
}
// 1, 2 or 4 matrices of 8x8 halves; lane 8j + i gives the address of row i of matrix j.
DEV_FN void ldmatrix(uint32_t (&r)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0},[%1];"
               : "=r"(r[0])
               : "r"(shared_address(row))
               : "memory");
}
DEV_FN void ldmatrix(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1},[%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
DEV_FN void ldmatrix(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
DEV_FN void ldmatrix_trans(uint32_t (&r)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0},[%1];"
               : "=r"(r[0])
               : "r"(shared_address(row))
               : "memory");
}
DEV_FN void ldmatrix_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1},[%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
DEV_FN void ldmatrix_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
#define DEV_SHFL(name, intrinsic, operand_type)                        \
  DEV_FN uint32_t name(uint32_t v, int operand, uint32_t mask = ~0u) { \
    return intrinsic(mask, v, static_cast<operand_type>(operand));     \
  }                                                                    \
  DEV_FN float name(float v, int operand, uint32_t mask = ~0u) {       \
    return intrinsic(mask, v, static_cast<operand_type>(operand));     \
  }
DEV_SHFL(shfl_xor, __shfl_xor_sync, int)
DEV_SHFL(shfl_up, __shfl_up_sync, unsigned)
DEV_SHFL(shfl_down, __shfl_down_sync, unsigned)
DEV_SHFL(shfl, __shfl_sync, int)
#undef DEV_SHFL
DEV_FN uint32_t redux_add(uint32_t v, uint32_t mask = ~0u) { return __reduce_add_sync(mask, v); }
DEV_FN uint32_t redux_min(uint32_t v, uint32_t mask = ~0u) { return __reduce_min_sync(mask, v); }
DEV_FN uint32_t redux_max(uint32_t v, uint32_t mask = ~0u) { return __reduce_max_sync(mask, v); }
DEV_FN uint32_t vote_ballot(bool p, uint32_t mask = ~0u) { return __ballot_sync(mask, p); }
DEV_FN bool vote_any(bool p, uint32_t mask = ~0u) { return __any_sync(mask, p); }
DEV_FN bool vote_all(bool p, uint32_t mask = ~0u) { return __all_sync(mask, p); }
DEV_FN void syncwarp(uint32_t mask = ~0u) { __syncwarp(mask); }

// ---- atomics: relaxed, at device scope; they return the value before ----
DEV_FN uint32_t atomic_load(const uint32_t* p) {
  uint32_t v;
  asm volatile("ld.relaxed.gpu.u32 %0,[%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
DEV_FN void atomic_store(uint32_t* p, uint32_t v) {
  asm volatile("st.relaxed.gpu.u32 [%0],%1;" ::"l"(p), "r"(v) : "memory");
}
DEV_FN uint32_t atomic_add(uint32_t* p, uint32_t v) { return atomicAdd(p, v); }
DEV_FN float atomic_add(float* p, float v) { return atomicAdd(p, v); }
DEV_FN uint32_t atomic_min(uint32_t* p, uint32_t v) { return atomicMin(p, v); }
DEV_FN uint32_t atomic_max(uint32_t* p, uint32_t v) { return atomicMax(p, v); }
DEV_FN uint32_t atomic_exchange(uint32_t* p, uint32_t v) { return atomicExch(p, v); }
DEV_FN uint32_t atomic_compare_exchange(uint32_t* p, uint32_t compare, uint32_t v) {
  return atomicCAS(p, compare, v);
}
// Releases what was written before to whoever sees a later atomic of this thread, and acquires what
// was released to an atomic before it.
DEV_FN void threadfence() { __threadfence(); }

// ---- block ----
DEV_FN void syncthreads() { __syncthreads(); }
// Named barriers 1 to 15: `threads`, whole warps, arrive; those in barrier_sync wait for all.
DEV_FN void barrier_sync(uint32_t id, uint32_t threads) {
  asm volatile("bar.sync %0,%1;" ::"r"(id), "r"(threads) : "memory");
}
DEV_FN void barrier_arrive(uint32_t id, uint32_t threads) {
  asm volatile("bar.arrive %0,%1;" ::"r"(id), "r"(threads) : "memory");
}
// A barrier after which nothing reads what [p, p + bytes) held before; only the emulator uses that.
DEV_FN void syncthreads_fresh(void*, size_t) { __syncthreads(); }

// ---- launches that overlap (Launch::overlaps_previous) ----
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
DEV_FN void allow_next_launch() { asm volatile("griddepcontrol.launch_dependents;" :::); }
DEV_FN void wait_for_previous_launch() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
#else
DEV_FN void allow_next_launch() {}
DEV_FN void wait_for_previous_launch() {}
#endif

// ---- asynchronous copies ----
DEV_FN void mbar_init(uint64_t* bar, uint32_t count) {
  DEV_SM90_ASM("mbarrier.init.shared::cta.b64 [%0],%1;" ::"r"(shared_address(bar)), "r"(count)
               : "memory");
}
DEV_FN void mbar_arrive(uint64_t* bar) {
  DEV_SM90_ASM("mbarrier.arrive.shared::cta.b64 _,[%0];" ::"r"(shared_address(bar)) : "memory");
}
DEV_FN void mbar_arrive_expect_tx(uint64_t* bar, uint32_t bytes) {
  DEV_SM90_ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _,[%0],%1;" ::"r"(shared_address(bar)),
               "r"(bytes)
               : "memory");
}
// Waits until phase number `phase` (0, 1, 2, ...) has completed. The hardware looks at its parity
// alone; the emulator checks the whole number. Plain branches: lanes may see different answers,
// which bra.uni forbids.
DEV_FN void mbar_wait(uint64_t* bar, uint32_t phase) {
  DEV_SM90_ASM(
      "{\n.reg .pred done;\n"
      "again:\nmbarrier.try_wait.parity.shared::cta.b64 done,[%0],%1;\n"
      "@done bra finished;\nbra again;\nfinished:\n}" ::"r"(shared_address(bar)),
      "r"(phase & 1)
      : "memory");
}
DEV_FN void fence_mbar_init() { DEV_SM90_ASM("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// Between plain writes, in any memory, and bulk copies that read or overwrite what was written.
DEV_FN void fence_proxy_async() { DEV_SM90_ASM("fence.proxy.async;" ::: "memory"); }
// cp.async.bulk: `bytes`, dst and src are multiples of 16; bar counts the bytes when they land.
// once: nobody reads src again, so that it is the first to leave the second level cache.
DEV_FN void bulk_g2s(void* dst, const void* src, uint32_t bytes, uint64_t* bar, bool once = false) {
  if (once) {
    DEV_SM90_ASM(
        "{\n.reg .b64 policy;\ncreatepolicy.fractional.L2::evict_first.b64 policy,1.0;\n"
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
        "[%0],[%1],%2,[%3],policy;\n}" ::"r"(shared_address(dst)),
        "l"(src), "r"(bytes), "r"(shared_address(bar))
        : "memory");
    return;
  }
  DEV_SM90_ASM(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0],[%1],%2,[%3];" ::"r"(
          shared_address(dst)),
      "l"(src), "r"(bytes), "r"(shared_address(bar))
      : "memory");
}
// cp.async: 16 bytes, both addresses multiples of 16; waited for by the thread that issued it.
DEV_FN void cp_async16(void* dst, const void* src) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16;" ::"r"(shared_address(dst)), "l"(src)
               : "memory");
}
DEV_FN void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `pending` of this thread's newest groups are still on their way.
template <int pending>
DEV_FN void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// ---- host side ----
inline Status status_from_cuda(cudaError_t error, const char* where) {
  Status s;
  if (error == cudaSuccess) return s;
  s.code = error == cudaErrorInvalidValue || error == cudaErrorInvalidConfiguration ||
                   error == cudaErrorNoKernelImageForDevice
               ? KVP_INVALID
               : KVP_DEVICE;
  snprintf(s.text, sizeof s.text, "%s: %s (%s)", where, cudaGetErrorString(error),
           cudaGetErrorName(error));
  return s;
}

inline Status device_facts(DeviceFacts& facts) {
  int device = 0, major = 0, minor = 0, count = 0;
  cudaError_t e = cudaGetDevice(&device);
  if (e == cudaSuccess) {
    e = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  }
  if (e == cudaSuccess) {
    e = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  }
  if (e == cudaSuccess) {
    e = cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  }
  facts.sm = static_cast<uint32_t>(major * 10 + minor);
  facts.multiprocessors = static_cast<uint32_t>(count);
  return status_from_cuda(e, "device facts");
}

template <class... P, class... A>
Status launch(void (*kernel)(P...), const Launch& shape, A... args) {
  // Static and dynamic together must stay within 48 KiB unless the function is told otherwise.
  if (shape.smem_bytes > smem_limit_static / 2) {
    const cudaError_t e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               static_cast<int>(shape.smem_bytes));
    if (e != cudaSuccess) return status_from_cuda(e, "shared memory of the launch");
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(shape.grid.x, shape.grid.y, shape.grid.z);
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.smem_bytes;
  config.stream = static_cast<cudaStream_t>(shape.stream);
  cudaLaunchAttribute overlap;
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  DeviceFacts facts;
  if (shape.overlaps_previous && device_facts(facts).ok() && facts.sm >= 90) {
    // A multiprocessor that divides its memory otherwise would have to be empty first.
    const cudaError_t e = cudaFuncSetAttribute(
        kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
    if (e != cudaSuccess) return status_from_cuda(e, "shared memory beside the launch before");
    config.attrs = &overlap;
    config.numAttrs = 1;
  }
  const cudaError_t e = cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
  return status_from_cuda(e == cudaSuccess ? cudaGetLastError() : e, "kernel launch");
}

}  // namespace dev
