// decode_step.cu - one decode step of a model: for each layer
//
//   q, k, v = W_qkv norm(x), rotated;  append k, v;  x += W_o attention(q)
//   x += W_down (silu(W_gate norm(x)) * W_up norm(x))
//
// norm is RMSNorm without weights; rotation is RoPE with base 500,000. x is f32, every other vector
// fp16, sums are f32. Weights are random, fp16, with variance 1 / columns. Each layer has weights
// and a cache of its own, so that nothing stays in the second level cache from layer to layer.
// Embedding and the last projection are left out.
#include <math.h>

#include "attention.h"

namespace kvproof_bench_library {

constexpr int product_threads = 256;
constexpr int warp_rows = 2;
constexpr int ahead = 4;  // chunks of a row that a lane asks for before it needs its vector
constexpr int block_rows = product_threads / 32 * warp_rows;

// What a product is applied to.
enum class Input { normed, plain, gated };

// From sm_90 on a kernel of a step starts while the one before it ends, and waits for it before it
// touches what that one wrote; weights are asked for before that.
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

template <class... P, class... A>
static cudaError_t launch(void (*kernel)(P...), uint32_t blocks, uint32_t threads,
                          uint32_t smem_bytes, cudaStream_t stream, A... args) {
  int device = 0, major = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaLaunchAttribute overlap;
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = smem_bytes;
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = major >= 9 ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
}

// sum += a chunk of eight weights times the vector.
__device__ float add_chunk(float sum, const uint4& weights, const uint4& vector) {
  const __half2* a = reinterpret_cast<const __half2*>(&vector);
  const __half2* b = reinterpret_cast<const __half2*>(&weights);
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const float2 u = __half22float2(a[j]), v = __half22float2(b[j]);
    sum = fmaf(u.x, v.x, fmaf(u.y, v.y, sum));
  }
  return sum;
}

__device__ float block_sum(float x) {
  __shared__ float of_warp[product_threads / 32];
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(~0u, x, offset);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < product_threads / 32; i++) sum += of_warp[i];
  return sum;
}

// y (rows) = W (rows, columns) f(x), plus `residual` where there is one. normed: x is `hidden`;
// plain: `vector`; gated: silu of the first half of `vector` times the second.
template <Input INPUT>
__global__ void __launch_bounds__(product_threads)
    product_kernel(const uint16_t* weights, int rows, int columns, const float* hidden,
                   const uint16_t* vector, float* residual, uint16_t* out) {
  extern __shared__ __align__(16) uint16_t x[];  // (columns), fp16
  const int lane = threadIdx.x % 32, row_chunks = columns / 8;
  const int row = (blockIdx.x * (product_threads / 32) + threadIdx.x / 32) * warp_rows;
  const uint4* of_row =
      reinterpret_cast<const uint4*>(weights) + static_cast<size_t>(row) * row_chunks;
  const auto load = [&](int r, int i) {
    const bool is_there = row < rows && i < row_chunks;
    return is_there ? __ldcs(of_row + static_cast<size_t>(r) * row_chunks + i) : uint4{};
  };
  uint4 first[ahead][warp_rows];
#pragma unroll
  for (int k = 0; k < ahead * warp_rows; k++) {
    first[k / warp_rows][k % warp_rows] = load(k % warp_rows, lane + k / warp_rows * 32);
  }
  allow_next();
  wait_for_previous();
  float factor = 1;
  if constexpr (INPUT == Input::normed) {
    float squares = 0;
    for (int i = threadIdx.x; i < columns; i += product_threads) squares += hidden[i] * hidden[i];
    factor = rsqrtf(block_sum(squares) / columns + 1e-5f);
  }
  for (int i = threadIdx.x; i < columns; i += product_threads) {
    float value;
    if constexpr (INPUT == Input::normed) {
      value = hidden[i] * factor;
    } else if constexpr (INPUT == Input::plain) {
      value = __half2float(__ushort_as_half(vector[i]));
    } else {
      const float gate = __half2float(__ushort_as_half(vector[i]));
      value = gate / (1 + __expf(-gate)) * __half2float(__ushort_as_half(vector[columns + i]));
    }
    x[i] = __half_as_ushort(__float2half_rn(value));
  }
  __syncthreads();
  if (row >= rows) return;
  float sum[warp_rows] = {};
  const uint4* chunks = reinterpret_cast<const uint4*>(x);
#pragma unroll
  for (int k = 0; k < ahead; k++) {
    const int i = lane + k * 32;
    if (i >= row_chunks) break;
#pragma unroll
    for (int r = 0; r < warp_rows; r++) sum[r] = add_chunk(sum[r], first[k][r], chunks[i]);
  }
#pragma unroll 4
  for (int i = lane + ahead * 32; i < row_chunks; i += 32) {
#pragma unroll
    for (int r = 0; r < warp_rows; r++) sum[r] = add_chunk(sum[r], load(r, i), chunks[i]);
  }
#pragma unroll
  for (int r = 0; r < warp_rows; r++) {
    for (int offset = 16; offset > 0; offset /= 2) {
      sum[r] += __shfl_xor_sync(~0u, sum[r], offset);
    }
    if (lane != r) continue;
    if (residual != nullptr) residual[row + r] += sum[r];
    if (out != nullptr) out[row + r] = __half_as_ushort(__float2half_rn(sum[r]));
  }
}

// Rotates pairs (i, i + D / 2) of every head of q and k, in place. A block for each head.
__global__ void rotate_kernel(uint16_t* heads, int head_size, float position) {
  allow_next();
  wait_for_previous();
  const int i = threadIdx.x;
  uint16_t* x = heads + static_cast<size_t>(blockIdx.x) * head_size;
  const float angle = position * exp2f(-18.931569f * 2 * i / head_size);  // log2(500,000)
  const float a = __half2float(__ushort_as_half(x[i]));
  const float b = __half2float(__ushort_as_half(x[i + head_size / 2]));
  x[i] = __half_as_ushort(__float2half_rn(a * cosf(angle) - b * sinf(angle)));
  x[i + head_size / 2] = __half_as_ushort(__float2half_rn(a * sinf(angle) + b * cosf(angle)));
}

struct Layer {
  uint16_t *qkv, *out, *gate_up, *down;  // weights
  Attention attention;
};

struct Model {
  kvp_bench_model shape{};
  std::vector<Layer> layers;
  float* hidden = nullptr;        // x
  uint16_t* projected = nullptr;  // q, k and v of the new token
  uint16_t* gated = nullptr;      // (2 feed_forward)
};

static Model& model() {
  static Model one;
  return one;
}

template <Input INPUT>
static Answer product(const uint16_t* weights, uint32_t rows, uint32_t columns, const float* hidden,
                      const uint16_t* vector, float* residual, uint16_t* out, cudaStream_t stream) {
  const uint32_t blocks = (rows + block_rows - 1) / block_rows;
  return answer_of(launch(product_kernel<INPUT>, blocks, product_threads, columns * 2, stream,
                          weights, rows, columns, hidden, vector, residual, out),
                   "a matrix-vector product");
}

// Without an append function the token is one that the cache has already.
static Answer run_layer(const Model& m, const Layer& layer, cudaStream_t stream) {
  const Attention& a = layer.attention;
  const kvp_problem& p = a.problem;
  const uint32_t hidden = m.shape.hidden, q_size = p.query_heads * p.head_size;
  const uint32_t kv_size = p.kv_heads * p.head_size;
  Answer answer = product<Input::normed>(layer.qkv, q_size + 2 * kv_size, hidden, m.hidden, nullptr,
                                         nullptr, m.projected, stream);
  if (!answer.ok()) return answer;
  answer = answer_of(launch(rotate_kernel, p.query_heads + p.kv_heads, p.head_size / 2, 0, stream,
                            m.projected, p.head_size, static_cast<float>(a.tokens[0] - 1)),
                     "the rotation");
  kvp_buffers b = a.buffers;
  b.q = m.projected;
  b.k = m.projected + q_size;
  b.v = m.projected + q_size + kv_size;
  if (answer.ok() && a.has_append) {
    answer = ask([&](char* err, size_t n) { return a.kernel->append(&p, &b, stream, err, n); });
  }
  if (answer.ok()) {
    answer = ask([&](char* err, size_t n) { return a.kernel->decode(&p, &b, stream, err, n); });
  }
  if (answer.ok()) {
    answer = product<Input::plain>(layer.out, hidden, q_size, nullptr, b.output, m.hidden, nullptr,
                                   stream);
  }
  if (answer.ok()) {
    answer = product<Input::normed>(layer.gate_up, 2 * m.shape.feed_forward, hidden, m.hidden,
                                    nullptr, nullptr, m.gated, stream);
  }
  if (!answer.ok()) return answer;
  return product<Input::gated>(layer.down, hidden, m.shape.feed_forward, nullptr, m.gated, m.hidden,
                               nullptr, stream);
}

static Answer run_step(const Model& m, cudaStream_t stream) {
  Answer answer;
  for (const Layer& layer : m.layers) {
    if (answer.ok()) answer = run_layer(m, layer, stream);
  }
  return answer;
}

// Rows of a plain product against sums in double: within 2^-9 of the sum of magnitudes, which the
// wrong row, a dropped column block or zero is not.
static Answer check_products(const Model& m) {
  constexpr int rows = 64;
  const uint32_t columns = m.shape.feed_forward;
  uint16_t *vector = nullptr, *out = nullptr;
  Answer answer = allocate_elements(&vector, columns, "a vector");
  if (answer.ok()) answer = allocate_elements(&out, rows, "a result");
  if (answer.ok()) answer = fill_random(vector, columns, 1, 99);
  if (answer.ok()) {
    answer = product<Input::plain>(m.layers[0].down, rows, columns, nullptr, vector, nullptr, out,
                                   bench_stream());
  }
  std::vector<uint16_t> w(static_cast<size_t>(rows) * columns), x(columns), y(rows);
  const auto read = [&](std::vector<uint16_t>& to, const uint16_t* from) {
    if (answer.ok()) answer = answer_of(cudaStreamSynchronize(bench_stream()), "a product");
    if (answer.ok()) {
      answer = answer_of(cudaMemcpy(to.data(), from, to.size() * 2, cudaMemcpyDeviceToHost),
                         "reading a product");
    }
  };
  read(w, m.layers[0].down);
  read(x, vector);
  read(y, out);
  const auto f64 = [](uint16_t word) {
    return static_cast<double>(__half2float(__ushort_as_half(word)));
  };
  for (int r = 0; r < rows && answer.ok(); r++) {
    double sum = 0, magnitude = 0;
    for (uint32_t i = 0; i < columns; i++) {
      const double term = f64(w[static_cast<size_t>(r) * columns + i]) * f64(x[i]);
      sum += term;
      magnitude += fabs(term);
    }
    if (!(fabs(f64(y[r]) - sum) <= magnitude / 512)) {
      answer = {KVP_INVALID, "row " + std::to_string(r) + " of a product is " +
                                 std::to_string(f64(y[r])) + ", required is " +
                                 std::to_string(sum)};
    }
  }
  return answer;
}

static Answer make_model(Model& m, const kvp_kernel* kernel, const kvp_problem& problem,
                         uint64_t seed, uint64_t* weight_bytes, uint64_t* cache_bytes) {
  const uint64_t hidden = m.shape.hidden, wide = m.shape.feed_forward;
  const uint64_t q_size = uint64_t{problem.query_heads} * problem.head_size;
  const uint64_t kv_size = uint64_t{problem.kv_heads} * problem.head_size;
  Answer answer = allocate_elements(&m.hidden, hidden, "x");
  const auto get = [&](uint16_t** pointer, uint64_t count, const char* what) {
    if (answer.ok()) answer = allocate_elements(pointer, count, what);
  };
  get(&m.projected, q_size + 2 * kv_size, "q, k and v");
  get(&m.gated, 2 * wide, "the gated vector");
  uint16_t *k = nullptr, *v = nullptr;
  const uint64_t kv = static_cast<uint64_t>(problem.tokens[0]) * kv_size;
  get(&k, kv, "k");
  get(&v, kv, "v");
  *weight_bytes = *cache_bytes = 0;
  for (Layer& layer : m.layers) {
    const auto weights = [&](uint16_t** pointer, uint64_t rows, uint64_t columns) {
      get(pointer, rows * columns, "weights");
      if (answer.ok()) {
        const float deviation = 1 / sqrtf(static_cast<float>(columns));
        answer = fill_random(*pointer, rows * columns, deviation, seed++);
      }
      *weight_bytes += rows * columns * 2;
    };
    weights(&layer.qkv, q_size + 2 * kv_size, hidden);
    weights(&layer.out, hidden, q_size);
    weights(&layer.gate_up, 2 * wide, hidden);
    weights(&layer.down, hidden, wide);
    if (answer.ok()) answer = layer.attention.make(kernel, problem, kernel->append != nullptr);
    if (answer.ok()) answer = layer.attention.fill(seed += 3, k, v);
    if (answer.ok()) answer = layer.attention.make_cache();
    if (answer.ok()) answer = answer_of(cudaStreamSynchronize(bench_stream()), "a layer's cache");
    const uint64_t tail = static_cast<uint64_t>(problem.tokens[0]) % KVP_RECORD_TOKENS;
    *cache_bytes += layer.attention.sizes.cache_bytes + 2 * tail * kv_size * 2;
  }
  return answer;
}

kvp_status step_prepare(const kvp_kernel* kernel, const kvp_problem* problem,
                        const kvp_bench_model* shape, uint64_t seed, uint64_t* weight_bytes,
                        uint64_t* cache_bytes, char* err, size_t err_bytes) {
  Model& m = model();
  m = Model{};
  m.shape = *shape;
  m.layers.resize(shape->layers);
  if (problem->requests != 1 || shape->hidden % 8 != 0 || shape->feed_forward % 8 != 0) {
    return told({KVP_INVALID, "a step has one request, and sizes that are multiples of 8"}, err,
                err_bytes);
  }
  Answer answer = make_model(m, kernel, *problem, seed, weight_bytes, cache_bytes);
  if (answer.ok()) answer = check_products(m);
  if (answer.ok()) {
    std::vector<float> x(shape->hidden);
    for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(i * 7919 % 1000) / 500 - 1;
    answer = answer_of(
        cudaMemcpy(m.hidden, x.data(), x.size() * sizeof(float), cudaMemcpyHostToDevice), "x");
  }
  return told(answer, err, err_bytes);
}

kvp_status step_time(uint32_t runs, double* ms, char* err, size_t err_bytes) {
  const Model& m = model();
  if (m.layers.empty()) return told({KVP_INVALID, "no step is prepared"}, err, err_bytes);
  return told(time_work([&](cudaStream_t s) { return run_step(m, s); }, runs, ms), err, err_bytes);
}

}  // namespace kvproof_bench_library
