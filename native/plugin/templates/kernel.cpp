// KERNEL_NAME: a kernel in C++ for kvproof, as a shared library.
//
//   g++ -O2 -std=c++20 -shared -fPIC -I KVPROOF_INCLUDE -o kernel.so kernel.cpp
//   npx kvproof verify --kernel lib:./kernel.so --time 60s
//
// Here: 8 bits, K and V by token, on host memory and one thread. Replace quantize() and decode() by
// calls of your kernel, and what records.h declares: that is what gets tested. Shapes stand beside
// every pointer in kernel_abi.h.
#include <cmath>
#include <vector>

#include "records.h"

namespace {
using namespace records;

// One row of K or V, (kSize), to its codes and its scale and zero.
void quantize_row(const uint16_t* x, bool is_k, int64_t token, uint8_t* stage) {
  float low = INFINITY, high = -INFINITY;
  for (int64_t d = 0; d < kSize; ++d) {
    low = std::fmin(low, load(x + d));
    high = std::fmax(high, load(x + d));
  }
  const float inverse = high - low > 0 ? 255 / (high - low) : 0;
  for (int64_t d = 0; d < kSize; ++d) {
    const float nearest = std::round((load(x + d) - low) * inverse);
    code(stage, is_k, token, d) = static_cast<uint8_t>(std::fmin(std::fmax(nearest, 0.f), 255.f));
  }
  store(parameters(stage, token), inverse == 0 ? 0 : 1 / inverse);
  store(parameters(stage, token) + 1, low);
}

kvp_status quantize(const kvp_problem* p, const kvp_buffers* b, void*, char* err, size_t size) {
  if (const kvp_status status = quantizable(p, b, err, size)) return status;
  const int64_t heads = p->kv_heads, row = heads * kSize;
  int64_t first = 0, page = 0;  // of the request, in k and v and in the cache
  for (uint32_t r = 0; r < p->requests; ++r) {
    const int64_t packed = p->tokens[r] - p->tokens[r] % kTokens;
    for (int64_t i = 0; i < packed * heads; ++i) {
      const int64_t t = i / heads, h = i % heads;
      uint8_t* record = b->cache + ((page + t / kTokens) * heads + h) * 2 * kStage;
      quantize_row(b->k + first * row + i * kSize, true, t % kTokens, record);
      quantize_row(b->v + first * row + i * kSize, false, t % kTokens, record + kStage);
    }
    const size_t tail = 2 * static_cast<size_t>((p->tokens[r] - packed) * row);
    std::memcpy(b->k_residual + r * kTokens * row, b->k + (first + packed) * row, tail);
    std::memcpy(b->v_residual + r * kTokens * row, b->v + (first + packed) * row, tail);
    first += p->tokens[r];
    page += p->tokens[r] / kTokens;
  }
  return KVP_OK;
}

void attend(const kvp_problem* p, const uint16_t* q, const Rows& k, const Rows& v, int64_t tokens,
            uint16_t* output, float* lse) {
  std::vector<float> weights(static_cast<size_t>(tokens));
  float largest = -INFINITY, sum = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    float score = 0;
    for (int64_t d = 0; d < kSize; ++d) score += load(q + d) * k.value(t, d);
    weights[t] = score * p->softmax_scale;
    largest = weights[t] > largest || std::isnan(weights[t]) ? weights[t] : largest;
  }
  for (float& w : weights) sum += w = std::exp(w - largest);
  for (int64_t d = 0; d < kSize; ++d) {
    float value = 0;
    for (int64_t t = 0; t < tokens; ++t) value += weights[t] * v.value(t, d);
    store(output + d, tokens == 0 ? 0 : value / sum);
  }
  *lse = tokens == 0 ? -INFINITY : largest + std::log(sum);
}

kvp_status decode(const kvp_problem* p, const kvp_buffers* b, void*, char* err, size_t size) {
  if (const kvp_status status = decodable(p, b, err, size)) return status;
  const int64_t ratio = p->query_heads / p->kv_heads;
  int64_t page = 0;
  for (uint32_t r = 0; r < p->requests; page += p->tokens[r++] / kTokens) {
    for (int64_t h = 0; h < p->query_heads; ++h) {
      const Rows k = rows(*p, *b, r, page, h / ratio, true);
      const Rows v = rows(*p, *b, r, page, h / ratio, false);
      const int64_t at = r * p->query_heads + h;
      attend(p, b->q + at * kSize, k, v, p->tokens[r], b->output + at * kSize, b->lse + at);
    }
  }
  return KVP_OK;
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
                                    nullptr,
                                    nullptr,
                                    nullptr,
                                    nullptr};
  return &kernel;
}
