// product.cu - the kernel of a product, which should take as long as its weights take to read.
//
// A block takes rows that lie together and its threads divide the columns, so that a thread's part
// of x stays in registers. Weights run through a ring in shared memory, 16 bytes a thread and copy;
// a thread reads what it copied itself, so no barrier is needed. From sm_90 on a kernel starts
// while the one before it ends: its ring is filled before it waits for that one, so that the memory
// is never idle. Asking for more into the second level cache, for what follows the ring or for the
// weights after attention, made every step slower (H100).
//
// Rounded where: f(x) to fp16, sums in f32 (a thread's columns, its warp, the warps in order), the
// result once.
#include <math.h>

#include "product.h"

namespace kvproof_bench_library {

constexpr int threads = 256, warps = threads / 32;
constexpr int ring_chunks = 8;   // of 16 bytes, of each thread
constexpr int batch_rows = 128;  // whose sums are in shared memory at once
constexpr uint32_t blocks_of_multiprocessor = 4;

__device__ void allow_next() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" :::);
#endif
}
__device__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ uint64_t read_once_policy() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
// Copies 16 bytes, or writes zeros if `bytes` is 0.
__device__ void copy_async(uint4* to, const uint4* from, uint32_t bytes, uint64_t policy) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;" ::"r"(address),
               "l"(from), "r"(bytes), "l"(policy)
               : "memory");
}
__device__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int PENDING>
__device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// The row that is number `at` in the order of a product: pairs lie side by side.
__device__ uint32_t row_of(uint32_t at, uint32_t span) {
  const uint32_t within = at % span;
  return at - within + within / 2 + (within % 2) * (span / 2);
}

// What a thread copies: chunks threadIdx.x + c threads of one row after another.
struct Weights {
  const uint4* chunk;  // chunk 0 of this thread in row `at`
  uint32_t at, end, within, span, row_chunks;
  uint4* slot;  // in the ring, read until it is asked for again
  uint4* slots_begin;
  uint64_t policy;

  __device__ Weights(const Product& p, uint32_t begin, uint32_t block_end, uint4* ring) {
    row_chunks = p.columns / 8;
    span = p.span;
    at = begin;
    end = block_end;
    within = at % span;
    chunk = reinterpret_cast<const uint4*>(p.weights) +
            static_cast<size_t>(row_of(at, span)) * row_chunks + threadIdx.x;
    slot = slots_begin = ring + threadIdx.x;
    policy = read_once_policy();
  }
  // Chunk c of the row into the slot; a group of copies even where there is nothing left.
  __device__ void ask(int c, bool is_last_of_row) {
    if (at < end) {
      const bool is_there = threadIdx.x + c * threads < row_chunks;
      copy_async(slot, chunk + c * threads, is_there ? 16 : 0, policy);
    }
    commit();
    slot += threads;
    if (slot == slots_begin + ring_chunks * threads) slot = slots_begin;
    if (is_last_of_row) step();
  }
  __device__ void step() {
    const int half = static_cast<int>(span / 2);
    const bool is_last = within + 1 == span;
    const int rows = is_last ? 1 : within % 2 == 0 ? half : 1 - half;
    chunk += static_cast<int64_t>(rows) * static_cast<int>(row_chunks);
    within = is_last ? 0 : within + 1;
    at++;
  }
};

// sum += a chunk of eight weights times the vector.
__device__ float add_chunk(float sum, const uint4& weights, const __half2 (&vector)[4]) {
  const __half2* w = reinterpret_cast<const __half2*>(&weights);
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const float2 u = __half22float2(vector[j]), v = __half22float2(w[j]);
    sum = fmaf(u.x, v.x, fmaf(u.y, v.y, sum));
  }
  return sum;
}

// The compiler would convert x to f32 once for all rows, for which there are no registers.
template <int CHUNKS>
__device__ void keep_packed(__half2 (&x)[CHUNKS][4]) {
#pragma unroll
  for (int i = 0; i < CHUNKS * 4; i++) {
    asm volatile("" : "+r"(reinterpret_cast<uint32_t&>(x[i / 4][i % 4])));
  }
}

__device__ float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(~0u, x, offset);
  return x;
}
__device__ float block_sum(float x) {
  __shared__ float of_warp[warps];
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < warps; i++) sum += of_warp[i];
  return sum;
}

// This thread's part of f(x), 0 behind the last column. Every load is on its way before one is
// used; none goes through the first level cache, which other multiprocessors do not write to.
template <Input INPUT, int CHUNKS>
__device__ void load_input(__half2 (&x)[CHUNKS][4], const Product& p) {
  const uint32_t row_chunks = p.columns / 8;
  if constexpr (INPUT == Input::plain) {
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
      const uint32_t i = threadIdx.x + c * threads;
      const uint4 words =
          i < row_chunks ? __ldcg(reinterpret_cast<const uint4*>(p.vector) + i) : uint4{};
      *reinterpret_cast<uint4*>(x[c]) = words;
    }
  } else {
    float4 h[CHUNKS][2];
    float squares = 0;
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
      const uint32_t i = threadIdx.x + c * threads;
#pragma unroll
      for (int j = 0; j < 2; j++) {
        h[c][j] = i < row_chunks ? __ldcg(reinterpret_cast<const float4*>(p.hidden) + 2 * i + j)
                                 : float4{};
      }
    }
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const float4 a = h[c][j];
        squares += a.x * a.x + a.y * a.y + a.z * a.z + a.w * a.w;
      }
    }
    const float factor = rsqrtf(block_sum(squares) / p.columns + 1e-5f);
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const float4 a = h[c][j];
        x[c][2 * j] = __floats2half2_rn(a.x * factor, a.y * factor);
        x[c][2 * j + 1] = __floats2half2_rn(a.z * factor, a.w * factor);
      }
    }
  }
}

// Cosine and sine for the pair whose first row is `at` in the order of the product.
__device__ float2 rotation(const Product& p, uint32_t at) {
  const float frequency = exp2f(-18.931569f * (at % p.span) / p.span);  // log2(500,000)
  double turns = p.position * frequency * 0.15915494309189535;
  turns -= rint(turns);
  float2 result;
  sincospif(2 * static_cast<float>(turns), &result.y, &result.x);
  return result;
}

// Sums a and b of rows `at` and `at` + 1 in the order of the product.
__device__ void store_pair(const Product& p, uint32_t at, float a, float b, float2 turn) {
  const uint32_t row_a = row_of(at, p.span), row_b = row_a + p.span / 2;
  const auto half_bits = [](float x) { return __half_as_ushort(__float2half_rn(x)); };
  if (p.output == Output::gated) {
    p.out[row_a] = half_bits(a / (1 + __expf(-a)) * b);
    return;
  }
  if (p.output == Output::added) {
    atomicAdd(p.residual + row_a, a);  // nobody else does: this is an addition without a wait
    if (at + 1 < p.rows) atomicAdd(p.residual + row_b, b);
    return;
  }
  if (p.output == Output::rotated && row_a < p.rotated_rows) {
    const float first = a * turn.x - b * turn.y;
    b = a * turn.y + b * turn.x;
    a = first;
  }
  p.out[row_a] = half_bits(a);
  if (at + 1 < p.rows) p.out[row_b] = half_bits(b);
}

// The block's rows are even at both ends, unless it is the end of the product.
__device__ uint32_t first_row(const Product& p, uint32_t block) {
  if (block == gridDim.x) return p.rows;
  return static_cast<uint32_t>(uint64_t{p.rows / 2} * block / gridDim.x) * 2;
}

// CHUNKS: of a row, for each thread.
template <Input INPUT, int CHUNKS>
__global__ void __launch_bounds__(threads, CHUNKS > 7 ? 1 : blocks_of_multiprocessor)
    product_kernel(const Product p) {
  extern __shared__ __align__(16) uint4 ring[];  // (ring_chunks, threads)
  __shared__ float sums[batch_rows][warps];
  __shared__ float2 turns[batch_rows / 2];
  const uint32_t first = first_row(p, blockIdx.x), end = first_row(p, blockIdx.x + 1);
  Weights weights(p, first, end, ring);
#pragma unroll
  for (int i = 0; i < ring_chunks; i++) weights.ask(i % CHUNKS, i % CHUNKS == CHUNKS - 1);
  wait_for_previous();
  __half2 x[CHUNKS][4];
  load_input<INPUT>(x, p);
  allow_next();
  for (uint32_t start = first; start < end; start += batch_rows) {
    const uint32_t stop = end - start < batch_rows ? end : start + batch_rows;
    const uint32_t pair = start + 2 * threadIdx.x;
    if (p.output == Output::rotated && pair < stop) turns[threadIdx.x] = rotation(p, pair);
    for (uint32_t at = start; at < stop; at++) {
      float sum = 0;
      if constexpr (CHUNKS > 2) keep_packed(x);
#pragma unroll
      for (int c = 0; c < CHUNKS; c++) {
        wait_for_copies<ring_chunks - 1>();
        sum = add_chunk(sum, *weights.slot, x[c]);
        const int asked = (c + ring_chunks) % CHUNKS;
        weights.ask(asked, asked == CHUNKS - 1);
      }
      sum = warp_sum(sum);
      if (threadIdx.x % 32 == 0) sums[at - start][threadIdx.x / 32] = sum;
    }
    __syncthreads();
    if (pair < stop) {
      float of_row[2] = {};
#pragma unroll
      for (int i = 0; i < 2 * warps; i++) {
        of_row[i / warps] += sums[pair - start + i / warps][i % warps];
      }
      store_pair(p, pair, of_row[0], of_row[1], turns[threadIdx.x]);
    }
    __syncthreads();
  }
}

template <Input INPUT>
static Answer launch_as(const Product& p, uint32_t blocks, bool overlaps, cudaStream_t stream) {
  const auto kernel = p.columns <= 2 * threads * 8   ? product_kernel<INPUT, 2>
                      : p.columns <= 7 * threads * 8 ? product_kernel<INPUT, 7>
                                                     : product_kernel<INPUT, 14>;
  constexpr uint32_t smem_bytes = ring_chunks * threads * sizeof(uint4);
  cudaError_t e =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, smem_bytes);
  // A multiprocessor that divides its memory otherwise would have to be empty first.
  if (e == cudaSuccess) {
    e = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                             cudaSharedmemCarveoutMaxShared);
  }
  if (e != cudaSuccess) return answer_of(e, "shared memory of a product");
  cudaLaunchAttribute overlap;
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = smem_bytes;
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = overlaps ? 1 : 0;
  return answer_of(cudaLaunchKernelEx(&config, kernel, p), "a matrix-vector product");
}

Answer launch_product(const Product& p, cudaStream_t stream) {
  const bool pairs = p.output == Output::rotated || p.output == Output::gated;
  if (p.rows == 0 || p.columns == 0 || p.columns % 8 != 0 || p.columns > columns_max) {
    return {KVP_INVALID, "product.columns: " + std::to_string(p.columns) +
                             ", a multiple of 8 up to " + std::to_string(columns_max) +
                             " is required, and a row"};
  }
  if (p.span < 2 || p.span % 2 != 0 || (pairs ? p.rows % p.span != 0 : p.span != 2) ||
      (p.output == Output::gated && p.span != p.rows)) {
    return {KVP_INVALID, "product.span: " + std::to_string(p.span) + " does not divide " +
                             std::to_string(p.rows) + " rows into pairs"};
  }
  int device = 0, major = 0, multiprocessors = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  const uint32_t blocks = blocks_of_multiprocessor * static_cast<uint32_t>(multiprocessors);
  return p.input == Input::normed ? launch_as<Input::normed>(p, blocks, major >= 9, stream)
                                  : launch_as<Input::plain>(p, blocks, major >= 9, stream);
}

}  // namespace kvproof_bench_library
