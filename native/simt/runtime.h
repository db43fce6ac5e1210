// runtime.h - what an emulated kernel calls: the C interface between device_emulated.h and the
// emulator.
//
// Kernels reach it through device.h alone. Every call that can be reported carries its place in the
// source as one 64-bit simt_site, so that the checks compare places with one instruction. The
// emulator side is in block.cpp, barrier.cpp, collective.cpp, matrix.cpp, atomic.cpp, mbarrier.cpp,
// copy.cpp, special.cpp and launch.cpp.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Address of the file name (48 bits, as x86-64 has it in user space) and the line (16 bits).
typedef uint64_t simt_site;

inline __attribute__((always_inline)) simt_site simt_here(const char* file, unsigned line) {
  return reinterpret_cast<uint64_t>(file) | static_cast<uint64_t>(line) << 48;
}

typedef float simt_f32x4 __attribute__((vector_size(16)));
// Four floats of an array.
typedef float simt_f32x4_at_4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint32_t simt_u32x4 __attribute__((vector_size(16)));

enum simt_fence_kind { SIMT_FENCE_MBARRIER_INIT, SIMT_FENCE_PROXY_ASYNC };
enum simt_shfl_kind { SIMT_SHFL_XOR, SIMT_SHFL_UP, SIMT_SHFL_DOWN, SIMT_SHFL_INDEX };
enum simt_redux_kind { SIMT_REDUX_ADD, SIMT_REDUX_MIN, SIMT_REDUX_MAX };
enum simt_atomic_kind {
  SIMT_ATOMIC_LOAD,
  SIMT_ATOMIC_STORE,
  SIMT_ATOMIC_ADD,
  SIMT_ATOMIC_MIN,
  SIMT_ATOMIC_MAX,
  SIMT_ATOMIC_EXCHANGE,
  SIMT_ATOMIC_COMPARE,
  SIMT_ATOMIC_ADD_F32
};

struct simt_launch_shape {
  const void* kernel;  // its entry point, for reports
  uint32_t grid_x, grid_y, grid_z;
  uint32_t threads;
  uint64_t shared_bytes;  // dynamic shared memory
  uint32_t threads_max;   // that the kernel has registers for; 0: not said
};

extern "C" {
// ---- position and memory ----
uint32_t simt_thread_x();
uint32_t simt_block(int axis);  // 0 x, 1 y, 2 z
uint32_t simt_grid_x();
void* simt_static_shared(size_t bytes, size_t align, const char* name, simt_site at);
void* simt_dynamic_shared(size_t align, simt_site at);

// ---- special functions ----
float simt_ex2(float x);
float simt_rcp(float x);
float simt_lg2(float x);

// ---- warp: every lane of the mask calls the same one at the same place, and then for its result
// ----
void simt_mma_f16_f32(simt_f32x4 c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                      uint32_t b1, simt_site at);
void simt_mma_bf16_f32(simt_f32x4 c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                       uint32_t b0, uint32_t b1, simt_site at);
simt_f32x4 simt_mma_result();
// Accumulators are four f16, in the order of their registers.
void simt_mma_f16_f16(uint64_t c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                      uint32_t b1, simt_site at);
uint64_t simt_mma_f16_result();
// 1, 2 or 4 matrices; `row` is the address of one row of 8 halves.
void simt_ldmatrix(int matrices, bool transposed, const void* row, simt_site at);
simt_u32x4 simt_ldmatrix_result();
void simt_movmatrix_trans(uint32_t x, simt_site at);
void simt_shfl(int kind, uint32_t v, int operand, uint32_t mask, simt_site at);
void simt_redux(int kind, uint32_t v, uint32_t mask, simt_site at);
void simt_vote(bool predicate, uint32_t mask, simt_site at);
uint32_t simt_result();  // of the last four; of a vote the ballot
void simt_syncwarp(uint32_t mask, simt_site at);

// ---- block ----
void simt_syncthreads(simt_site at);
void simt_syncthreads_fresh(void* p, size_t bytes, simt_site at);
// Named barriers: `threads` of the block, whole warps, arrive; those that wait go on together.
void simt_barrier(uint32_t id, uint32_t threads, bool wait, simt_site at);

// ---- atomics, relaxed; the value before ----
uint32_t simt_atomic(int kind, uint32_t* p, uint32_t value, uint32_t compare, simt_site at);
void simt_threadfence(simt_site at);

// ---- asynchronous copies ----
void simt_mbar_init(uint64_t* bar, uint32_t count, simt_site at);
void simt_mbar_arrive(uint64_t* bar, simt_site at);
void simt_mbar_arrive_expect_tx(uint64_t* bar, uint32_t bytes, simt_site at);
void simt_mbar_wait(uint64_t* bar, uint32_t phase, simt_site at);
void simt_fence(int kind, simt_site at);
void simt_bulk_g2s(void* dst, const void* src, uint32_t bytes, uint64_t* bar, simt_site at);
void simt_cp_async16(void* dst, const void* src, simt_site at);
void simt_cp_async_commit(simt_site at);
void simt_cp_async_wait(uint32_t pending, simt_site at);

// ---- host side: runs the whole grid before it returns. Returns a kvp_status. ----
// body(argument) is one thread; kernels read the argument_bytes at argument and no other host
// memory.
int simt_launch(const simt_launch_shape* shape, void (*body)(void*), void* argument,
                size_t argument_bytes, char* err, size_t err_bytes);
void simt_device_facts(uint32_t* sm, uint32_t* multiprocessors);
}
