// KERNEL_NAME: a kernel in C++ for kvproof, as a shared library.
//
//   g++ -O2 -std=c++20 -shared -fPIC -I KVPROOF_INCLUDE -o kernel.so kernel.cpp
//   npx kvproof verify --kernel lib:./kernel.so --time 60s
//
// Here: 8 bits, K and V by token, in the records of native/kernels/README.md, on host memory and
// one thread. Replace quantize() and decode() by calls of your kernel; what is declared in
// `capabilities` is what gets tested. Shapes stand beside every pointer in kernel_abi.h.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "kernel_abi.h"

namespace {
constexpr int64_t kSize = 128;                             // head size
constexpr int64_t kTokens = KVP_RECORD_TOKENS;             // of a record
constexpr int64_t kStage = kTokens * kSize + 4 * kTokens;  // bytes of K, or of V, in a record

float load(const uint16_t* x) {
  _Float16 half;
  std::memcpy(&half, x, 2);
  return half;
}

void store(void* to, float x) {
  const _Float16 half = static_cast<_Float16>(x);
  std::memcpy(to, &half, 2);
}

// Byte of the code of (row, column): K has tokens as rows, V channels.
int64_t place(int64_t row, int64_t column) {
  const int64_t lane = (row & 7) * 4 + ((column & 7) >> 1);
  const int64_t word = 2 * (column >> 4) + ((column >> 3) & 1);
  const int64_t index = (((row >> 4) * 4 + (word >> 2)) * 32 + lane) * 4 + (word & 3);
  return index * 4 + ((row >> 3) & 1) + (column & 1) * 2;
}

// One row of K or V, (kSize), to its codes and its scale and zero.
void quantize_row(const uint16_t* x, bool is_k, int64_t token, uint8_t* stage) {
  float low = INFINITY, high = -INFINITY;
  for (int64_t d = 0; d < kSize; ++d) {
    low = std::fmin(low, load(x + d));
    high = std::fmax(high, load(x + d));
  }
  const float inverse = high - low > 0 ? 255 / (high - low) : 0;
  for (int64_t d = 0; d < kSize; ++d) {
    const float code = std::fmin(std::fmax(std::round((load(x + d) - low) * inverse), 0.f), 255.f);
    stage[is_k ? place(token, d) : place(d, token)] = static_cast<uint8_t>(code);
  }
  uint8_t* parameters = stage + kTokens * kSize + 4 * token;
  store(parameters, inverse == 0 ? 0 : 1 / inverse);
  store(parameters + 2, low);
}

float dequantized(const uint8_t* stage, bool is_k, int64_t token, int64_t d) {
  const uint8_t* parameters = stage + kTokens * kSize + 4 * token;
  const float code = stage[is_k ? place(token, d) : place(d, token)];
  return code * load(reinterpret_cast<const uint16_t*>(parameters)) +
         load(reinterpret_cast<const uint16_t*>(parameters + 2));
}

kvp_status no(char* err, size_t size, const char* why, kvp_status status = KVP_UNSUPPORTED) {
  std::snprintf(err, size, "%s", why);
  return status;
}

// What no kernel can run.
kvp_status check(const kvp_problem* p, char* err, size_t size) {
  const auto wrong = [=](const char* why) { return no(err, size, why, KVP_INVALID); };
  if (p->struct_bytes != sizeof(kvp_problem)) return wrong("struct_bytes: another version");
  if (p->requests == 0 || p->tokens == nullptr) return wrong("requests: at least one, with tokens");
  if (p->kv_heads == 0 || p->query_heads == 0 || p->query_heads % p->kv_heads != 0) {
    return wrong("query_heads: a positive multiple of kv_heads");
  }
  if (!std::isfinite(p->softmax_scale)) return wrong("softmax_scale: finite numbers only");
  for (uint32_t r = 0; r < p->requests; ++r) {
    if (p->tokens[r] < 0) return wrong("tokens: 0 or more");
  }
  return KVP_OK;
}

kvp_status supports(const kvp_problem* p, char* err, size_t size) {
  if (const kvp_status status = check(p, err, size)) return status;
  if (std::strcmp(p->format, "bitdecoding") != 0) return no(err, size, "format: bitdecoding only");
  if (p->bits != 8 || p->group != 128) return no(err, size, "bits: 8 in groups of 128 only");
  if (p->k_axis != KVP_AXIS_TOKEN) return no(err, size, "k_axis: token only");
  if (p->head_size != kSize) return no(err, size, "head_size: 128 only");
  if (p->type != KVP_FP16 || p->query_tokens != 1)
    return no(err, size, "fp16, one query token only");
  if (p->page_table_stride != 0) return no(err, size, "page tables are not supported");
  if (p->q_token_stride || p->k_token_stride || p->v_token_stride) {
    return no(err, size, "strided rows are not supported");
  }
  if (p->query_heads > 64 * p->kv_heads)
    return no(err, size, "query_heads: at most 64 on a KV head");
  for (uint32_t r = 0; r < p->requests; ++r) {
    if (p->tokens[r] > 65536) return no(err, size, "tokens: at most 65536");
  }
  return KVP_OK;
}

kvp_status sizes(const kvp_problem* p, kvp_sizes* out, char* err, size_t size) {
  if (const kvp_status status = supports(p, err, size)) return status;
  uint32_t pages = 0;
  for (uint32_t r = 0; r < p->requests; ++r) pages += static_cast<uint32_t>(p->tokens[r] / kTokens);
  out->pages = pages;
  out->cache_bytes = static_cast<uint64_t>(pages) * p->kv_heads * 2 * kStage;
  out->residual_bytes = uint64_t{2} * p->requests * kTokens * p->kv_heads * kSize;
  out->workspace_bytes = 0;
  out->splits = 1;
  return KVP_OK;
}

kvp_status quantize(const kvp_problem* p, const kvp_buffers* b, void*, char* err, size_t size) {
  if (const kvp_status status = supports(p, err, size)) return status;
  const int64_t heads = p->kv_heads, row = heads * kSize;
  int64_t first = 0, page = 0;  // of the request, in k and v and in the cache
  for (uint32_t r = 0; r < p->requests;
       first += p->tokens[r], page += p->tokens[r] / kTokens, ++r) {
    const int64_t packed = p->tokens[r] - p->tokens[r] % kTokens;
    for (int64_t t = 0; t < packed; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        uint8_t* record = b->cache + ((page + t / kTokens) * heads + h) * 2 * kStage;
        const int64_t from = (first + t) * row + h * kSize;
        quantize_row(b->k + from, true, t % kTokens, record);
        quantize_row(b->v + from, false, t % kTokens, record + kStage);
      }
    }
    const size_t tail = 2 * static_cast<size_t>((p->tokens[r] - packed) * row);
    std::memcpy(b->k_residual + r * kTokens * row, b->k + (first + packed) * row, tail);
    std::memcpy(b->v_residual + r * kTokens * row, b->v + (first + packed) * row, tail);
  }
  return KVP_OK;
}

// Rows of K or V of one request and KV head, (tokens, kSize), from the cache and the window.
std::vector<float> rows(const kvp_problem* p, const kvp_buffers* b, uint32_t r, int64_t page,
                        int64_t h, bool is_k) {
  const int64_t heads = p->kv_heads, tokens = p->tokens[r], packed = tokens - tokens % kTokens;
  const uint16_t* window = (is_k ? b->k_residual : b->v_residual) + r * kTokens * heads * kSize;
  std::vector<float> out(static_cast<size_t>(tokens * kSize));
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t record = ((page + t / kTokens) * heads + h) * 2 + (is_k ? 0 : 1);
    for (int64_t d = 0; d < kSize; ++d) {
      out[t * kSize + d] = t < packed
                               ? dequantized(b->cache + record * kStage, is_k, t % kTokens, d)
                               : load(window + ((t - packed) * heads + h) * kSize + d);
    }
  }
  return out;
}

void attend(const kvp_problem* p, const uint16_t* q, const std::vector<float>& k,
            const std::vector<float>& v, int64_t tokens, uint16_t* output, float* lse) {
  std::vector<float> weights(static_cast<size_t>(tokens));
  float largest = -INFINITY, sum = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    float score = 0;
    for (int64_t d = 0; d < kSize; ++d) score += load(q + d) * k[t * kSize + d];
    weights[t] = score * p->softmax_scale;
    largest = weights[t] > largest || std::isnan(weights[t]) ? weights[t] : largest;
  }
  for (float& w : weights) sum += w = std::exp(w - largest);
  for (int64_t d = 0; d < kSize; ++d) {
    float value = 0;
    for (int64_t t = 0; t < tokens; ++t) value += weights[t] * v[t * kSize + d];
    store(output + d, tokens == 0 ? 0 : value / sum);
  }
  *lse = tokens == 0 ? -INFINITY : largest + std::log(sum);
}

kvp_status decode(const kvp_problem* p, const kvp_buffers* b, void*, char* err, size_t size) {
  if (const kvp_status status = supports(p, err, size)) return status;
  const int64_t ratio = p->query_heads / p->kv_heads;
  int64_t page = 0;
  for (uint32_t r = 0; r < p->requests; page += p->tokens[r] / kTokens, ++r) {
    for (int64_t h = 0; h < p->kv_heads; ++h) {
      const std::vector<float> k = rows(p, b, r, page, h, true), v = rows(p, b, r, page, h, false);
      for (int64_t i = h * ratio; i < (h + 1) * ratio; ++i) {
        const int64_t row = r * p->query_heads + i;
        attend(p, b->q + row * kSize, k, v, p->tokens[r], b->output + row * kSize, b->lse + row);
      }
    }
  }
  return KVP_OK;
}

const char* const kCapabilities = R"({
  "formats": [{"format": "bitdecoding", "kAxis": ["token"], "bits": [8], "groups": [128],
               "headSizes": [128]}],
  "layout": "record128", "tokensMax": 65536, "headsPerKvMax": 64, "tiles": [128],
  "arithmetic": null, "deterministic": true, "batchInvariant": true})";
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
                                    nullptr,
                                    nullptr,
                                    nullptr,
                                    nullptr};
  return &kernel;
}
