// loop.h - the one switch of this folder: every stage is a loop over independent indices, a grid of
// threads under nvcc and a plain loop under any other compiler.
//
// No stage shares memory between its indices except through the order-free functions below, so both
// sides compute the same numbers: sums are cut into the same parts on both. Arithmetic is compiled
// without contraction (-fmad=false, -ffp-contract=off), because the reference has none.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define TWIN_FN __device__ inline
#define TWIN_LOOP [=] __device__
#define TWIN_UNROLL _Pragma("unroll")
#else
#define TWIN_FN inline
#define TWIN_LOOP [=]
#define TWIN_UNROLL
#endif

namespace kvproof_reference {

#ifdef __CUDACC__

using Stream = cudaStream_t;

template <typename Body>
__global__ void loop_kernel(uint64_t count, Body body) {
  const uint64_t stride = uint64_t{gridDim.x} * blockDim.x;
  for (uint64_t i = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride)
    body(i);
}

// body(i) for i = 0 .. count - 1, in any order, after what is in the stream already.
template <typename Body>
void for_each(Stream stream, uint64_t count, const Body& body) {
  if (count == 0) return;
  constexpr uint64_t threads = 128, blocks_max = 1u << 16;
  const uint64_t blocks = (count + threads - 1) / threads;
  loop_kernel<<<static_cast<uint32_t>(blocks < blocks_max ? blocks : blocks_max),
                static_cast<uint32_t>(threads), 0, stream>>>(count, body);
}

TWIN_FN void or_into(uint32_t* flags, uint32_t bits) {
  if (bits != 0) atomicOr(flags, bits);
}
TWIN_FN void add_into(uint64_t* sum, uint64_t x) {
  if (x != 0) atomicAdd(reinterpret_cast<unsigned long long*>(sum), x);
}
TWIN_FN void max_into(uint64_t* largest, uint64_t x) {
  atomicMax(reinterpret_cast<unsigned long long*>(largest), x);
}
TWIN_FN uint64_t bits_of(double x) { return static_cast<uint64_t>(__double_as_longlong(x)); }
TWIN_FN double double_of(uint64_t bits) {
  return __longlong_as_double(static_cast<long long>(bits));
}

#else

using Stream = void*;

template <typename Body>
void for_each(Stream, uint64_t count, const Body& body) {
  for (uint64_t i = 0; i < count; i++) body(i);
}

inline void or_into(uint32_t* flags, uint32_t bits) { *flags |= bits; }
inline void add_into(uint64_t* sum, uint64_t x) { *sum += x; }
inline void max_into(uint64_t* largest, uint64_t x) {
  if (x > *largest) *largest = x;
}
inline uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline double double_of(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

#endif

}  // namespace kvproof_reference
