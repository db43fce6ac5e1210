// KERNEL_NAME: a kernel in CUDA for kvproof, as a shared library.
//
//   nvcc -O2 -std=c++20 -arch=native -shared -Xcompiler -fPIC -I KVPROOF_INCLUDE -o kernel.so
//   kernel.cu npx kvproof verify --kernel lib:./kernel.so --time 60s
//
// Here: 8 bits, K and V by token, written to be read and not to be fast. Replace quantize() and
// decode() by launches of your kernel, and what records.h declares: that is what gets tested.
// Shapes stand beside every pointer in kernel_abi.h. Everything goes to the stream that comes in,
// and nothing waits for it.
#include <cuda_runtime.h>

#include "cuda_memory.h"
#include "records.h"

namespace {
using namespace records;

constexpr int kThreads = 128;

// A thread a row of K or V, (kSize), to its codes and its scale and zero. x (tokens, heads, kSize).
__global__ void quantize_rows(const uint16_t* x, bool is_k, int64_t rows, int64_t heads,
                              uint8_t* stages) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= rows) return;
  const int64_t token = i / heads % kTokens;
  uint8_t* stage = stages + (i / heads / kTokens * heads + i % heads) * 2 * kStage;
  float low = INFINITY, high = -INFINITY;
  for (int64_t d = 0; d < kSize; ++d) {
    low = fminf(low, load(x + i * kSize + d));
    high = fmaxf(high, load(x + i * kSize + d));
  }
  const float inverse = high - low > 0 ? 255 / (high - low) : 0;
  for (int64_t d = 0; d < kSize; ++d) {
    const float nearest = roundf((load(x + i * kSize + d) - low) * inverse);
    code(stage, is_k, token, d) = static_cast<uint8_t>(fminf(fmaxf(nearest, 0.f), 255.f));
  }
  store(parameters(stage, token), inverse == 0 ? 0 : 1 / inverse);
  store(parameters(stage, token) + 1, low);
}

// A block a query head, a thread a channel; every thread goes through all tokens.
__global__ void attend(const uint16_t* queries, Rows k, Rows v, int64_t ratio, int64_t tokens,
                       float softmax_scale, uint16_t* output, float* lse) {
  __shared__ float products[kThreads];
  const int64_t head = blockIdx.x, d = threadIdx.x, kv_head = head / ratio;
  k.stages += kv_head * 2 * kStage, v.stages += kv_head * 2 * kStage;
  k.window += kv_head * kSize, v.window += kv_head * kSize;
  const float q = load(queries + head * kSize + d);
  float largest = -INFINITY, sum = 0, value = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    products[d] = q * k.value(t, d);
    for (int half = kThreads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (d < half) products[d] += products[d + half];
    }
    __syncthreads();
    const float score = products[0] * softmax_scale;
    __syncthreads();  // before the next token writes there
    const float before = largest;
    largest = score > largest || isnan(score) ? score : largest;
    // Nothing has been summed yet, or nothing has changed: no factor, as Inf - Inf is none.
    const float factor = t == 0 || largest == before ? 1 : expf(before - largest);
    const float weight = expf(score - largest);
    sum = sum * factor + weight;
    value = value * factor + weight * v.value(t, d);
  }
  store(output + head * kSize + d, tokens == 0 ? 0 : value / sum);
  if (d == 0) lse[head] = tokens == 0 ? -INFINITY : largest + logf(sum);
}

kvp_status launched(char* err, size_t size) {
  return kvproof_cuda::report(cudaGetLastError(), "launching", err, size);
}

kvp_status quantize(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                    size_t size) {
  if (const kvp_status status = quantizable(p, b, err, size)) return status;
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  const int64_t heads = p->kv_heads, row = heads * kSize;
  int64_t first = 0, page = 0;  // of the request, in k and v and in the cache
  for (uint32_t r = 0; r < p->requests; ++r) {
    const int64_t packed = p->tokens[r] - p->tokens[r] % kTokens;
    const size_t tail = 2 * static_cast<size_t>((p->tokens[r] - packed) * row);
    const unsigned blocks = static_cast<unsigned>((packed * heads + kThreads - 1) / kThreads);
    for (const bool is_k : {true, false}) {
      const uint16_t* x = (is_k ? b->k : b->v) + first * row;
      uint8_t* stages = b->cache + (page * heads * 2 + (is_k ? 0 : 1)) * kStage;
      if (blocks > 0) {
        quantize_rows<<<blocks, kThreads, 0, on>>>(x, is_k, packed * heads, heads, stages);
      }
      uint16_t* window = (is_k ? b->k_residual : b->v_residual) + r * kTokens * row;
      cudaMemcpyAsync(window, x + packed * row, tail, cudaMemcpyDeviceToDevice, on);
    }
    first += p->tokens[r];
    page += p->tokens[r] / kTokens;
  }
  return launched(err, size);
}

kvp_status decode(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                  size_t size) {
  if (const kvp_status status = decodable(p, b, err, size)) return status;
  int64_t page = 0;
  for (uint32_t r = 0; r < p->requests; page += p->tokens[r++] / kTokens) {
    const int64_t at = int64_t{r} * p->query_heads;
    attend<<<p->query_heads, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
        b->q + at * kSize, rows(*p, *b, r, page, 0, true), rows(*p, *b, r, page, 0, false),
        p->query_heads / p->kv_heads, p->tokens[r], p->softmax_scale, b->output + at * kSize,
        b->lse + at);
  }
  return launched(err, size);
}
}  // namespace

const kvp_kernel* kvproof_kernel(void) {
  static const kvp_kernel kernel = {KVPROOF_ABI_VERSION,
                                    sizeof(kvp_kernel),
                                    "KERNEL_NAME",
                                    kCapabilities,
                                    supports,
                                    sizes,
                                    quantize,
                                    decode,
                                    kvproof_cuda::memory(),
                                    nullptr,
                                    nullptr,
                                    nullptr};
  return &kernel;
}

const kvp_streams* kvproof_streams(void) { return kvproof_cuda::streams(); }
