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
#include "product.h"

namespace kvproof_bench_library {

struct Layer {
  uint16_t *qkv, *out, *gate_up, *down;  // weights
  Attention attention;
};

struct Model {
  kvp_bench_model shape{};
  std::vector<Layer> layers;
  float* hidden = nullptr;        // x
  uint16_t* projected = nullptr;  // q, k and v of the new token
  uint16_t* gated = nullptr;      // (feed_forward)
};

static Model& model() {
  static Model one;
  return one;
}

static Answer run_attention(const Model& m, const Layer& layer, cudaStream_t stream) {
  const Attention& a = layer.attention;
  const kvp_problem& p = a.problem;
  kvp_buffers b = a.buffers;
  b.q = m.projected;
  b.k = m.projected + p.query_heads * p.head_size;
  b.v = b.k + a.token_elements();
  Answer answer;
  // Without an append function the token is one that the cache has already.
  if (a.has_append) {
    answer = ask([&](char* err, size_t n) { return a.kernel->append(&p, &b, stream, err, n); });
  }
  if (!answer.ok()) return answer;
  return ask([&](char* err, size_t n) { return a.kernel->decode(&p, &b, stream, err, n); });
}

static Answer run_layer(const Model& m, const Layer& layer, cudaStream_t stream) {
  const kvp_problem& p = layer.attention.problem;
  const uint32_t hidden = m.shape.hidden, q_size = p.query_heads * p.head_size;
  const uint32_t kv_size = p.kv_heads * p.head_size;
  Product qkv, out, gate_up, down;
  qkv.weights = layer.qkv;
  qkv.rows = q_size + 2 * kv_size;
  gate_up.weights = layer.gate_up;
  gate_up.rows = gate_up.span = 2 * m.shape.feed_forward;
  qkv.columns = gate_up.columns = hidden;
  qkv.input = gate_up.input = Input::normed;
  qkv.hidden = gate_up.hidden = m.hidden;
  qkv.output = Output::rotated;
  qkv.span = p.head_size;
  qkv.rotated_rows = q_size + kv_size;
  qkv.position = static_cast<float>(layer.attention.tokens[0] - 1);
  qkv.out = m.projected;
  gate_up.output = Output::gated;
  gate_up.out = m.gated;
  out.weights = layer.out;
  out.columns = q_size;
  out.vector = layer.attention.buffers.output;
  down.weights = layer.down;
  down.columns = m.shape.feed_forward;
  down.vector = m.gated;
  out.rows = down.rows = hidden;
  out.output = down.output = Output::added;
  out.residual = down.residual = m.hidden;
  Answer answer = launch_product(qkv, stream);
  if (answer.ok()) answer = run_attention(m, layer, stream);
  for (const Product* product : {&out, &gate_up, &down}) {
    if (answer.ok()) answer = launch_product(*product, stream);
  }
  return answer;
}

static Answer run_step(const Model& m, cudaStream_t stream) {
  Answer answer;
  for (const Layer& layer : m.layers) {
    if (answer.ok()) answer = run_layer(m, layer, stream);
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
  get(&m.gated, wide, "the gated vector");
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
  if (answer.ok()) answer = check_products();
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
