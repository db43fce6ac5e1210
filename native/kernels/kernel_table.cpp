// kernel_table.cpp - our kernels behind the interface of kernel_abi.h: every argument is checked
// here, once, and the launchers trust it.
//
// KVP_INVALID is a request that makes no sense, KVP_UNSUPPORTED one that makes sense and is not
// implemented; limits are those of the launch (grid sizes) and of the exponents in softmax_state.h
// (|softmax_scale| <= 2^15 keeps every score below 2^55). Nothing is written before all checks
// pass.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "decode_arguments.h"
#include "platform.h"

namespace kvproof {

constexpr uint32_t heads_per_kv_max = 64;
constexpr uint32_t kv_heads_max = 4096;  // times 8 query tiles fits the 65,535 of grid.y
constexpr uint32_t requests_max = 1u << 20;
constexpr uint32_t splits_max = 4096;
constexpr int64_t tokens_max = 1 << 24;
constexpr uint64_t pages_max = 0x7fffffff;
constexpr float softmax_scale_max = 32768.0f;

// Where an error goes; the sentence is cut to fit and always terminated.
struct ErrorSink {
  char* text;
  size_t bytes;

  __attribute__((format(printf, 3, 4))) kvp_status fail(kvp_status status, const char* format,
                                                        ...) const {
    if (text == nullptr || bytes == 0) return status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, bytes, format, arguments);
    va_end(arguments);
    return status;
  }
};

static kvp_status check_scheme(const kvp_problem& p, const ErrorSink& err) {
  if (p.format == nullptr) return err.fail(KVP_INVALID, "problem.format: null");
  if (strcmp(p.format, "bitdecoding") != 0) {
    return err.fail(KVP_UNSUPPORTED, "problem.format: \"%.60s\" is not \"bitdecoding\"", p.format);
  }
  if (p.k_axis != KVP_AXIS_CHANNEL) {
    return err.fail(KVP_UNSUPPORTED, "problem.k_axis: %u, only %d (channel) is implemented",
                    p.k_axis, KVP_AXIS_CHANNEL);
  }
  if (p.bits != 4 && p.bits != 2) {
    return err.fail(KVP_UNSUPPORTED, "problem.bits: %u is not 4 or 2", p.bits);
  }
  if (p.group != 128 && p.group != 64 && p.group != 32) {
    return err.fail(KVP_UNSUPPORTED, "problem.group: %u is not 128, 64 or 32", p.group);
  }
  if (!isfinite(p.softmax_scale)) {
    return err.fail(KVP_INVALID, "problem.softmax_scale: %g is not finite", p.softmax_scale);
  }
  if (fabsf(p.softmax_scale) > softmax_scale_max) {
    return err.fail(KVP_UNSUPPORTED, "problem.softmax_scale: %g is beyond %g", p.softmax_scale,
                    softmax_scale_max);
  }
  return KVP_OK;
}

static kvp_status check_heads(const kvp_problem& p, const ErrorSink& err) {
  if (p.head_size != head_size) {
    return err.fail(KVP_UNSUPPORTED, "problem.head_size: %u is not %d", p.head_size, head_size);
  }
  if (p.kv_heads == 0) return err.fail(KVP_INVALID, "problem.kv_heads: 0, at least 1 is required");
  if (p.query_heads == 0 || p.query_heads % p.kv_heads != 0) {
    return err.fail(KVP_INVALID, "problem.query_heads: %u is not a multiple of problem.kv_heads %u",
                    p.query_heads, p.kv_heads);
  }
  if (p.query_heads / p.kv_heads > heads_per_kv_max) {
    return err.fail(KVP_UNSUPPORTED, "problem.query_heads: %u for each KV head, at most %u",
                    p.query_heads / p.kv_heads, heads_per_kv_max);
  }
  if (p.kv_heads > kv_heads_max) {
    return err.fail(KVP_UNSUPPORTED, "problem.kv_heads: %u, at most %u", p.kv_heads, kv_heads_max);
  }
  return KVP_OK;
}

static kvp_status check_requests(const kvp_problem& p, const ErrorSink& err) {
  if (p.requests == 0) return err.fail(KVP_INVALID, "problem.requests: 0, at least 1 is required");
  if (p.requests > requests_max) {
    return err.fail(KVP_UNSUPPORTED, "problem.requests: %u, at most %u", p.requests, requests_max);
  }
  if (p.splits > splits_max) {
    return err.fail(KVP_UNSUPPORTED, "problem.splits: %u, at most %u", p.splits, splits_max);
  }
  if (p.tokens == nullptr) return err.fail(KVP_INVALID, "problem.tokens: null");
  uint64_t pages = 0;
  for (uint32_t i = 0; i < p.requests; i++) {
    const int64_t tokens = p.tokens[i];
    if (tokens < 0) {
      return err.fail(KVP_INVALID, "problem.tokens[%u]: %lld is negative", i,
                      static_cast<long long>(tokens));
    }
    if (tokens > tokens_max) {
      return err.fail(KVP_UNSUPPORTED, "problem.tokens[%u]: %lld, at most %lld", i,
                      static_cast<long long>(tokens), static_cast<long long>(tokens_max));
    }
    pages += static_cast<uint64_t>(tokens) / record_tokens;
  }
  if (pages > pages_max) {
    return err.fail(KVP_UNSUPPORTED, "problem.tokens: %llu records in all, at most %llu",
                    static_cast<unsigned long long>(pages),
                    static_cast<unsigned long long>(pages_max));
  }
  return KVP_OK;
}

static kvp_status check_arrangement(const kvp_problem& p, const ErrorSink& err) {
  if (p.query_tokens == 0) {
    return err.fail(KVP_INVALID, "problem.query_tokens: 0, at least 1 is required");
  }
  if (p.query_tokens != 1) {
    return err.fail(KVP_UNSUPPORTED, "problem.query_tokens: %u is not 1", p.query_tokens);
  }
  if (p.type != KVP_FP16) {
    return err.fail(KVP_UNSUPPORTED, "problem.type: %u is not %d (fp16)", p.type, KVP_FP16);
  }
  if (p.page_table_stride != 0 || p.pool_pages != 0 || p.kept != nullptr) {
    return err.fail(KVP_UNSUPPORTED, "problem.page_table_stride: %u is not 0", p.page_table_stride);
  }
  if ((p.q_token_stride | p.q_head_stride | p.k_token_stride | p.k_head_stride | p.v_token_stride |
       p.v_head_stride) != 0) {
    return err.fail(KVP_UNSUPPORTED, "problem.q_token_stride: only dense tensors are implemented");
  }
  return KVP_OK;
}

static kvp_status supports(const kvp_problem* problem, char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  if (problem == nullptr) return err.fail(KVP_INVALID, "problem: null");
  if (problem->struct_bytes != sizeof(kvp_problem)) {
    return err.fail(KVP_INVALID, "problem.struct_bytes: %u, this library was built for %zu",
                    problem->struct_bytes, sizeof(kvp_problem));
  }
  kvp_status status = check_scheme(*problem, err);
  if (status == KVP_OK) status = check_heads(*problem, err);
  if (status == KVP_OK) status = check_requests(*problem, err);
  if (status == KVP_OK) status = check_arrangement(*problem, err);
  return status;
}

static kvp_status sizes(const kvp_problem* problem, kvp_sizes* sizes, char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  const kvp_status status = supports(problem, text, bytes);
  if (status != KVP_OK) return status;
  if (sizes == nullptr) return err.fail(KVP_INVALID, "sizes: null");
  const kvp_problem& p = *problem;
  uint64_t pages = 0;
  for (uint32_t i = 0; i < p.requests; i++) pages += p.tokens[i] / record_tokens;
  uint32_t splits = p.splits;
  if (splits == 0) {
    dev::DeviceFacts facts;
    const dev::Status asked = dev::device_facts(facts);
    if (!asked.ok()) return err.fail(asked.code, "%s", asked.text);
    splits = chosen_splits(p, facts.multiprocessors);
  }
  sizes->pages = static_cast<uint32_t>(pages);
  sizes->splits = splits;
  sizes->cache_bytes = pages * p.kv_heads * record_bytes(p.bits, p.group);
  sizes->residual_bytes =
      uint64_t{p.requests} * record_tokens * p.kv_heads * head_size * sizeof(uint16_t);
  sizes->workspace_bytes = workspace_bytes(p.requests, p.query_heads, splits);
  return KVP_OK;
}

// A buffer that is used must be there, and aligned for 16-byte copies.
static kvp_status check_buffer(const char* name, const void* buffer, const ErrorSink& err) {
  if (buffer == nullptr) return err.fail(KVP_INVALID, "buffers.%s: null", name);
  if (reinterpret_cast<uintptr_t>(buffer) % 16 != 0) {
    return err.fail(KVP_INVALID, "buffers.%s: address %p is not a multiple of 16", name, buffer);
  }
  return KVP_OK;
}

struct NamedBuffer {
  const char* name;
  const void* address;
  bool used;
};

template <size_t N>
static kvp_status check_buffers(const NamedBuffer (&buffers)[N], const ErrorSink& err) {
  for (const NamedBuffer& b : buffers) {
    if (!b.used) continue;
    const kvp_status status = check_buffer(b.name, b.address, err);
    if (status != KVP_OK) return status;
  }
  return KVP_OK;
}

static bool any_tail(const kvp_problem& p) {
  for (uint32_t i = 0; i < p.requests; i++) {
    if (p.tokens[i] % record_tokens != 0) return true;
  }
  return false;
}

static kvp_status quantize(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                           char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  kvp_sizes size;
  kvp_status status = sizes(problem, &size, text, bytes);
  if (status != KVP_OK) return status;
  if (buffers == nullptr) return err.fail(KVP_INVALID, "buffers: null");
  const bool packed = size.pages > 0, tail = any_tail(*problem);
  status = check_buffers({{"k", buffers->k, packed || tail},
                          {"v", buffers->v, packed || tail},
                          {"cache", buffers->cache, packed},
                          {"k_residual", buffers->k_residual, tail},
                          {"v_residual", buffers->v_residual, tail}},
                         err);
  if (status != KVP_OK) return status;
  const dev::Status launched = launch_quantize(*problem, *buffers, stream);
  return launched.ok() ? KVP_OK : err.fail(launched.code, "quantize: %s", launched.text);
}

static kvp_status decode(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                         char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  kvp_sizes size;
  kvp_status status = sizes(problem, &size, text, bytes);
  if (status != KVP_OK) return status;
  if (buffers == nullptr) return err.fail(KVP_INVALID, "buffers: null");
  const bool tail = any_tail(*problem);
  status = check_buffers({{"q", buffers->q, true},
                          {"cache", buffers->cache, size.pages > 0},
                          {"k_residual", buffers->k_residual, tail},
                          {"v_residual", buffers->v_residual, tail},
                          {"workspace", buffers->workspace, true},
                          {"output", buffers->output, true},
                          {"lse", buffers->lse, true}},
                         err);
  if (status != KVP_OK) return status;
  dev::DeviceFacts facts;
  const dev::Status asked = dev::device_facts(facts);
  if (!asked.ok()) return err.fail(asked.code, "%s", asked.text);
  const dev::Status launched = launch_decode(*problem, *buffers, size.splits, facts.sm, stream);
  return launched.ok() ? KVP_OK : err.fail(launched.code, "decode: %s", launched.text);
}

// properties/kernel.ts, Capabilities, without what depends on the device. sumLanes: a query's sum
// is shared by eight lanes.
static const char capabilities[] =
    "{\"name\":\"kvproof\",\"formats\":[{\"format\":\"bitdecoding\",\"kAxis\":[\"channel\"],"
    "\"bits\":[4,2],\"groups\":[128,64,32],\"headSizes\":[128]}],\"layout\":\"record128\","
    "\"tokensMax\":16777216,\"headsPerKvMax\":64,"
    "\"arithmetic\":{\"operands\":\"folded\",\"sumLanes\":8},"
    "\"tiles\":[8,16,32,64,128,1024],\"deterministic\":true,\"batchInvariant\":true}";

}  // namespace kvproof

const kvp_kernel* kvproof_kernel(void) {
  using namespace kvproof;
  static const kvp_kernel kernel = {KVPROOF_ABI_VERSION,
                                    sizeof(kvp_kernel),
                                    "kvproof",
                                    capabilities,
                                    supports,
                                    sizes,
                                    quantize,
                                    decode,
                                    platform_memory(),
                                    platform_emulator(),
                                    nullptr,
                                    nullptr};
  return &kernel;
}
