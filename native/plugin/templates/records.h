// records.h - what a kernel over records of 8 bits owes the interface besides its arithmetic: what
// it declines, the sizes of its buffers, and where a record keeps a code and its parameters
// (native/kernels/README.md). Shared by the templates in C++ and CUDA.
#ifndef KVPROOF_RECORDS_H
#define KVPROOF_RECORDS_H

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "kernel_abi.h"

#ifdef __CUDACC__
#include <cuda_fp16.h>
#define ON_BOTH __host__ __device__ inline
#else
#define ON_BOTH inline
#endif

namespace records {

constexpr int64_t kSize = 128;                             // head size
constexpr int64_t kTokens = KVP_RECORD_TOKENS;             // of a record
constexpr int64_t kStage = kTokens * kSize + 4 * kTokens;  // bytes of K, or of V, in a record

ON_BOTH float load(const uint16_t* x) {
#ifdef __CUDACC__
  __half_raw raw;
  raw.x = *x;
  return __half2float(__half(raw));
#else
  _Float16 half;
  std::memcpy(&half, x, 2);
  return half;
#endif
}

ON_BOTH void store(uint16_t* to, float x) {
#ifdef __CUDACC__
  *to = __half_raw(__float2half_rn(x)).x;
#else
  const _Float16 half = static_cast<_Float16>(x);
  std::memcpy(to, &half, 2);
#endif
}

// The code of (token, channel): K has tokens as rows, V channels.
ON_BOTH uint8_t& code(uint8_t* stage, bool is_k, int64_t token, int64_t channel) {
  const int64_t row = is_k ? token : channel, column = is_k ? channel : token;
  const int64_t lane = (row & 7) * 4 + ((column & 7) >> 1);
  const int64_t word = 2 * (column >> 4) + ((column >> 3) & 1);
  const int64_t index = (((row >> 4) * 4 + (word >> 2)) * 32 + lane) * 4 + (word & 3);
  return stage[index * 4 + ((row >> 3) & 1) + (column & 1) * 2];
}

// The scale of a token; its zero lies behind it.
ON_BOTH uint16_t* parameters(uint8_t* stage, int64_t token) {
  return reinterpret_cast<uint16_t*>(stage + kTokens * kSize) + 2 * token;
}

// K or V of one request and KV head, as the cache and the window have them.
struct Rows {
  uint8_t* stages;         // of the request's first record and this head
  const uint16_t* window;  // (kTokens, kv_heads, kSize), from this head on
  int64_t kv_heads, packed;
  bool is_k;

  ON_BOTH float value(int64_t token, int64_t channel) const {
    if (token >= packed) return load(window + (token - packed) * kv_heads * kSize + channel);
    uint8_t* stage = stages + token / kTokens * kv_heads * 2 * kStage;
    const uint16_t* scale = parameters(stage, token % kTokens);
    return code(stage, is_k, token % kTokens, channel) * load(scale) + load(scale + 1);
  }
};

// Request r, whose records begin at `page`.
inline Rows rows(const kvp_problem& p, const kvp_buffers& b, uint32_t r, int64_t page, int64_t head,
                 bool is_k) {
  const int64_t heads = p.kv_heads;
  const uint16_t* window = is_k ? b.k_residual : b.v_residual;
  return {b.cache + ((page * heads + head) * 2 + (is_k ? 0 : 1)) * kStage,
          window + (r * kTokens * heads + head) * kSize, heads, p.tokens[r] - p.tokens[r] % kTokens,
          is_k};
}

inline kvp_status no(char* err, size_t size, const char* why, kvp_status status = KVP_UNSUPPORTED) {
  std::snprintf(err, size, "%s", why);
  return status;
}

// What no kernel can run.
inline kvp_status check(const kvp_problem* p, char* err, size_t size) {
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

inline kvp_status supports(const kvp_problem* p, char* err, size_t size) {
  if (const kvp_status status = check(p, err, size)) return status;
  const auto unless = [=](const char* why) { return no(err, size, why); };
  if (std::strcmp(p->format, "bitdecoding") != 0) return unless("format: bitdecoding only");
  if (p->bits != 8 || p->group != 128) return unless("bits: 8 in groups of 128 only");
  if (p->k_axis != KVP_AXIS_TOKEN) return unless("k_axis: token only");
  if (p->head_size != kSize) return unless("head_size: 128 only");
  if (p->type != KVP_FP16 || p->query_tokens != 1) return unless("fp16, one query token only");
  if (p->page_table_stride || p->pool_pages || p->kept != nullptr) {
    return unless("page tables are not supported");
  }
  if (p->q_token_stride || p->k_token_stride || p->v_token_stride || p->q_head_stride ||
      p->k_head_stride || p->v_head_stride) {
    return unless("strided rows are not supported");
  }
  if (p->splits > 1) return unless("splits: requests are attended to in one part");
  if (p->query_heads > 64 * p->kv_heads) return unless("query_heads: at most 64 on a KV head");
  for (uint32_t r = 0; r < p->requests; ++r) {
    if (p->tokens[r] > 65536) return unless("tokens: at most 65536");
  }
  return KVP_OK;
}

inline kvp_status sizes(const kvp_problem* p, kvp_sizes* out, char* err, size_t size) {
  if (const kvp_status status = supports(p, err, size)) return status;
  *out = kvp_sizes{};
  for (uint32_t r = 0; r < p->requests; ++r) {
    out->pages += static_cast<uint32_t>(p->tokens[r] / kTokens);
  }
  out->cache_bytes = uint64_t{out->pages} * p->kv_heads * 2 * kStage;
  out->residual_bytes = uint64_t{2} * p->requests * kTokens * p->kv_heads * kSize;
  out->splits = 1;
  return KVP_OK;
}

// Arguments of a launch: the problem, and pointers that are there and aligned.
inline kvp_status launchable(const kvp_problem* p, const void* const* pointers, int count,
                             char* err, size_t size) {
  if (const kvp_status status = supports(p, err, size)) return status;
  for (int i = 0; i < count; ++i) {
    if (pointers[i] == nullptr || reinterpret_cast<uintptr_t>(pointers[i]) % 16 != 0) {
      return no(err, size, "buffers: pointers that are multiples of 16 only", KVP_INVALID);
    }
  }
  return KVP_OK;
}

inline kvp_status quantizable(const kvp_problem* p, const kvp_buffers* b, char* err, size_t size) {
  const void* const used[] = {b->k, b->v, b->cache, b->k_residual, b->v_residual};
  return launchable(p, used, 5, err, size);
}

inline kvp_status decodable(const kvp_problem* p, const kvp_buffers* b, char* err, size_t size) {
  const void* const used[] = {b->q, b->cache, b->k_residual, b->v_residual, b->output, b->lse};
  return launchable(p, used, 6, err, size);
}

constexpr char kCapabilities[] = R"({
  "formats": [{"format": "bitdecoding", "kAxis": ["token"], "bits": [8], "groups": [128],
               "headSizes": [128]}],
  "layout": "record128", "tokensMax": 65536, "headsPerKvMax": 64, "tiles": [128],
  "arithmetic": null, "deterministic": true, "batchInvariant": true})";

}  // namespace records

#endif
