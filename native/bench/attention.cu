// attention.cu - buffers and calls of one problem, and the slice of one KV head for a reference.
//
// Append is timed over and over with the same token: the windows and the record that it fills stay
// what they are, so each run does the same work. Its cache lies behind a page table that names
// pages in their order.
#include "attention.h"

#include <algorithm>

namespace kvproof_bench_library {

constexpr uint64_t record_tokens = KVP_RECORD_TOKENS;

uint64_t Attention::total_tokens() const {
  uint64_t total = 0;
  for (int64_t t : tokens) total += static_cast<uint64_t>(t);
  return total;
}

static std::vector<int32_t> plain_table(const std::vector<int64_t>& tokens, uint32_t stride) {
  std::vector<int32_t> table(tokens.size() * stride, 0);
  int32_t next = 0;
  for (size_t r = 0; r < tokens.size(); r++) {
    for (uint64_t i = 0; i < static_cast<uint64_t>(tokens[r]) / record_tokens; i++) {
      table[r * stride + i] = next++;
    }
  }
  return table;
}

Answer Attention::make(const kvp_kernel* table, const kvp_problem& given, bool with_append) {
  kernel = table;
  problem = given;
  format = given.format;
  tokens.assign(given.tokens, given.tokens + given.requests);
  problem.format = format.c_str();
  problem.tokens = tokens.data();
  has_append = with_append;
  if (with_append && kernel->append == nullptr)
    return {KVP_UNSUPPORTED, "the kernel cannot append"};
  std::vector<int32_t> pages;
  if (with_append) {
    uint64_t used = 0;
    for (int64_t t : tokens) {
      const auto records = static_cast<uint64_t>(t) / record_tokens;
      if (t < 1) return {KVP_INVALID, "append: a request without tokens"};
      problem.page_table_stride =
          std::max(problem.page_table_stride, static_cast<uint32_t>(records + 1));
      used += records;
    }
    problem.pool_pages = static_cast<uint32_t>(used);
    pages = plain_table(tokens, problem.page_table_stride);
  }
  Answer answer = ask([&](char* err, size_t n) { return kernel->sizes(&problem, &sizes, err, n); });
  const uint64_t rows = uint64_t{problem.requests} * problem.query_heads;
  const uint64_t new_elements = problem.requests * token_elements();
  const auto get = [&](auto** pointer, uint64_t count, const char* what) {
    if (answer.ok()) answer = allocate_elements(pointer, count, what);
  };
  get(&buffers.cache, sizes.cache_bytes, "the cache");
  get(&buffers.k_residual, sizes.residual_bytes / 2, "a residual window");
  get(&buffers.v_residual, sizes.residual_bytes / 2, "a residual window");
  get(&buffers.workspace, sizes.workspace_bytes, "the workspace");
  get(&buffers.output, rows * problem.head_size, "the output");
  get(&buffers.lse, rows, "lse");
  get(&k_new, new_elements, "new tokens");
  get(&v_new, new_elements, "new tokens");
  int32_t* device_pages = nullptr;
  get(&device_pages, pages.size(), "the page table");
  if (!answer.ok() || pages.empty()) return answer;
  buffers.page_table = device_pages;
  return answer_of(cudaMemcpy(device_pages, pages.data(), pages.size() * sizeof(int32_t),
                              cudaMemcpyHostToDevice),
                   "the page table");
}

Answer Attention::fill(uint64_t seed, uint16_t* k, uint16_t* v) {
  const uint64_t elements = total_tokens() * token_elements();
  const uint64_t q_elements = uint64_t{problem.requests} * problem.query_heads * problem.head_size;
  uint16_t* q = nullptr;
  Answer answer = allocate_elements(&q, q_elements, "q");
  if (answer.ok() && k == nullptr) answer = allocate_elements(&k, elements, "k");
  if (answer.ok() && v == nullptr) answer = allocate_elements(&v, elements, "v");
  if (answer.ok()) answer = fill_random(q, q_elements, 1.0f, seed);
  if (answer.ok()) answer = fill_random(k, elements, 1.0f, seed + 1);
  if (answer.ok()) answer = fill_random(v, elements, 1.0f, seed + 2);
  buffers.q = q;
  buffers.k = k;
  buffers.v = v;
  // The last token of each request, for append.
  uint64_t next = 0;
  const uint64_t row = token_elements();
  for (size_t r = 0; r < tokens.size() && answer.ok() && has_append; r++) {
    next += static_cast<uint64_t>(tokens[r]);
    cudaError_t e =
        cudaMemcpy(k_new + r * row, k + (next - 1) * row, row * 2, cudaMemcpyDeviceToDevice);
    if (e == cudaSuccess) {
      e = cudaMemcpy(v_new + r * row, v + (next - 1) * row, row * 2, cudaMemcpyDeviceToDevice);
    }
    answer = answer_of(e, "new tokens");
  }
  return answer;
}

// Without append in one call; else each request alone without its last token, then one append.
Answer Attention::make_cache() const {
  cudaStream_t stream = bench_stream();
  if (!has_append) return run(KVP_BENCH_QUANTIZE, stream);
  uint64_t first = 0;
  for (size_t r = 0; r < tokens.size(); r++) {
    kvp_problem one = problem;
    kvp_buffers b = buffers;
    const int64_t length = tokens[r] - 1;
    one.requests = 1;
    one.tokens = &length;
    b.k += first * token_elements();
    b.v += first * token_elements();
    b.page_table += r * problem.page_table_stride;
    b.k_residual += r * record_tokens * token_elements();
    b.v_residual += r * record_tokens * token_elements();
    const Answer made =
        ask([&](char* err, size_t n) { return kernel->quantize(&one, &b, stream, err, n); });
    if (!made.ok()) return made;
    first += static_cast<uint64_t>(tokens[r]);
  }
  return run(KVP_BENCH_APPEND, stream);
}

Answer Attention::run(kvp_bench_op op, cudaStream_t stream) const {
  kvp_buffers b = buffers;
  if (op == KVP_BENCH_APPEND) {
    b.k = k_new;
    b.v = v_new;
  }
  const auto call = op == KVP_BENCH_QUANTIZE ? kernel->quantize
                    : op == KVP_BENCH_APPEND ? kernel->append
                                             : kernel->decode;
  return ask([&](char* err, size_t n) { return call(&problem, &b, stream, err, n); });
}

static Attention& current() {
  static Attention attention;
  return attention;
}

static kvp_status prepare(const kvp_kernel* kernel, const kvp_problem* problem, int with_append,
                          uint64_t seed, kvp_sizes* sizes, char* err, size_t err_bytes) {
  Attention& a = current();
  a = Attention{};
  Answer answer = a.make(kernel, *problem, with_append != 0);
  if (answer.ok()) answer = a.fill(seed, nullptr, nullptr);
  if (answer.ok()) answer = a.make_cache();
  if (answer.ok()) answer = a.run(KVP_BENCH_DECODE, bench_stream());
  if (answer.ok()) answer = answer_of(cudaStreamSynchronize(bench_stream()), "the first run");
  *sizes = a.sizes;
  return told(answer, err, err_bytes);
}

// `rows` rows of `bytes` that are `pitch` apart on the device, one after another in `to`.
static cudaError_t read_rows(void* to, const void* from, uint64_t bytes, uint64_t pitch,
                             uint64_t rows) {
  if (rows == 0) return cudaSuccess;
  return cudaMemcpy2D(to, bytes, from, pitch, bytes, rows, cudaMemcpyDeviceToHost);
}

static kvp_status read_head(uint32_t request, uint32_t kv_head, const kvp_bench_head* head,
                            char* err, size_t err_bytes) {
  const Attention& a = current();
  const kvp_problem& p = a.problem;
  if (a.kernel == nullptr || request >= p.requests || kv_head >= p.kv_heads) {
    return told({KVP_INVALID, "read_head: no such head"}, err, err_bytes);
  }
  uint64_t first_token = 0, first_page = 0;
  for (uint32_t r = 0; r < request; r++) {
    first_token += static_cast<uint64_t>(a.tokens[r]);
    first_page += static_cast<uint64_t>(a.tokens[r]) / record_tokens;
  }
  const auto tokens = static_cast<uint64_t>(a.tokens[request]);
  const uint64_t records = tokens / record_tokens;
  const uint64_t row = uint64_t{p.head_size} * 2, pitch = p.kv_heads * row;
  const uint64_t ratio = p.query_heads / p.kv_heads;
  const uint64_t query = (uint64_t{request} * p.query_heads + kv_head * ratio) * p.head_size;
  const uint64_t at = first_token * a.token_elements() + kv_head * p.head_size;
  const uint64_t window = request * record_tokens * a.token_elements() + kv_head * p.head_size;
  const uint64_t record = a.sizes.pages == 0 ? 0 : a.sizes.cache_bytes / a.sizes.pages / p.kv_heads;
  const uint8_t* cache = a.buffers.cache + (first_page * p.kv_heads + kv_head) * record;
  const cudaError_t copies[] = {
      read_rows(head->q, a.buffers.q + query, ratio * row, ratio * row, 1),
      read_rows(head->k, a.buffers.k + at, row, pitch, tokens),
      read_rows(head->v, a.buffers.v + at, row, pitch, tokens),
      read_rows(head->cache, cache, record, p.kv_heads * record, records),
      read_rows(head->k_residual, a.buffers.k_residual + window, row, pitch, record_tokens),
      read_rows(head->v_residual, a.buffers.v_residual + window, row, pitch, record_tokens),
      read_rows(head->output, a.buffers.output + query, ratio * row, ratio * row, 1),
      read_rows(head->lse, a.buffers.lse + query / p.head_size, ratio * 4, ratio * 4, 1),
  };
  for (cudaError_t e : copies) {
    if (e != cudaSuccess) return told(answer_of(e, "reading a head"), err, err_bytes);
  }
  return KVP_OK;
}

static kvp_status time_op(kvp_bench_op op, uint32_t runs, double* ms, char* err, size_t err_bytes) {
  const Attention& a = current();
  if (a.kernel == nullptr) return told({KVP_INVALID, "time: nothing is prepared"}, err, err_bytes);
  return told(time_work([&](cudaStream_t s) { return a.run(op, s); }, runs, ms), err, err_bytes);
}

static kvp_status ceilings(uint32_t runs, double* copy, double* read, char* err, size_t err_bytes) {
  return told(measure_ceilings(runs, copy, read), err, err_bytes);
}

static void release() {
  current() = Attention{};
  free_all();
}

// decode_step.cu
kvp_status step_prepare(const kvp_kernel* kernel, const kvp_problem* problem,
                        const kvp_bench_model* model, uint64_t seed, uint64_t* weight_bytes,
                        uint64_t* cache_bytes, char* err, size_t err_bytes);
kvp_status step_time(uint32_t runs, double* ms, char* err, size_t err_bytes);

}  // namespace kvproof_bench_library

const kvp_bench* kvproof_bench(void) {
  using namespace kvproof_bench_library;
  static const kvp_bench bench = {
      KVPROOF_BENCH_VERSION, sizeof(kvp_bench), ceilings, prepare, read_head, time_op,
      step_prepare,          step_time,         release};
  return &bench;
}
