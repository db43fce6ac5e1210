// kernel_table.cpp - our kernels behind the interface of kernel_abi.h. problem_checks.h has the
// checks of arguments; nothing is written before all of them pass.
#include "decode_arguments.h"
#include "platform.h"
#include "problem_checks.h"
#include "ring.h"

namespace kvproof {

static kvp_status supports(const kvp_problem* problem, char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  return check_problem(problem, err);
}

static kvp_status sizes(const kvp_problem* problem, kvp_sizes* sizes, char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  const kvp_status status = supports(problem, text, bytes);
  if (status != KVP_OK) return status;
  if (sizes == nullptr) return err.fail(KVP_INVALID, "sizes: null");
  const kvp_problem& p = *problem;
  uint32_t splits = p.splits;
  if (splits == 0) {
    dev::DeviceFacts facts;
    const dev::Status asked = dev::device_facts(facts);
    if (!asked.ok()) return err.fail(asked.code, "%s", asked.text);
    splits = chosen_splits(p, facts.multiprocessors);
  }
  const RecordSizes record = record_sizes(p.bits, p.group, p.head_size, p.k_axis);
  sizes->pages = static_cast<uint32_t>(pages_of(p));
  sizes->splits = splits;
  sizes->cache_bytes = pages_of(p) * p.kv_heads * record.bytes();
  sizes->residual_bytes =
      uint64_t{p.requests} * record_tokens * p.kv_heads * p.head_size * sizeof(uint16_t);
  sizes->workspace_bytes = workspace_bytes(p, splits);
  return KVP_OK;
}

// The cache with its windows and its page table, as a call reads or writes it.
static std::vector<UsedBuffer> cache_buffers(const kvp_problem& p, const kvp_sizes& size,
                                             const kvp_buffers& b, bool is_written, bool has_tail) {
  const bool packed = records_of(p) > 0;
  const uint64_t window = has_tail ? size.residual_bytes : 0;
  const uint64_t entries = packed ? uint64_t{p.requests} * p.page_table_stride : 0;
  return {{"cache", b.cache, packed ? size.cache_bytes : 0, is_written},
          {"k_residual", b.k_residual, window, is_written},
          {"v_residual", b.v_residual, window, is_written},
          {"page_table", b.page_table, entries * sizeof(int32_t), false, sizeof(int32_t)}};
}

// quantize and append: new tokens, `rows` of them.
static kvp_status check_new_tokens(const kvp_problem& p, const kvp_sizes& size,
                                   const kvp_buffers* buffers, uint64_t rows, bool has_tail,
                                   const ErrorSink& err) {
  if (buffers == nullptr) return err.fail(KVP_INVALID, "buffers: null");
  std::vector<UsedBuffer> used = cache_buffers(p, size, *buffers, true, has_tail);
  const auto bytes = [&](uint64_t token_stride, uint64_t head_stride) {
    return tensor_bytes(rows, p.kv_heads, p.head_size, token_stride, head_stride);
  };
  used.insert(used.begin(), {{"k", buffers->k, bytes(p.k_token_stride, p.k_head_stride), false},
                             {"v", buffers->v, bytes(p.v_token_stride, p.v_head_stride), false}});
  return check_buffers(used, err);
}

static kvp_status quantize(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                           char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  kvp_sizes size;
  kvp_status status = sizes(problem, &size, text, bytes);
  if (status != KVP_OK) return status;
  const uint64_t tokens = total_tokens(*problem);
  status = check_new_tokens(*problem, size, buffers, tokens, any_tail(*problem), err);
  if (status != KVP_OK) return status;
  const dev::Status launched = launch_quantize(*problem, *buffers, stream);
  return launched.ok() ? KVP_OK : err.fail(launched.code, "quantize: %s", launched.text);
}

static kvp_status append(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                         char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  kvp_sizes size;
  kvp_status status = sizes(problem, &size, text, bytes);
  if (status != KVP_OK) return status;
  if (problem->page_table_stride == 0) {
    return err.fail(KVP_INVALID, "problem.page_table_stride: 0, append needs a page table");
  }
  status = check_new_tokens(*problem, size, buffers, problem->requests, true, err);
  if (status != KVP_OK) return status;
  const dev::Status launched = launch_append(*problem, *buffers, stream);
  return launched.ok() ? KVP_OK : err.fail(launched.code, "append: %s", launched.text);
}

static kvp_status dequantize(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                             char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  kvp_sizes size;
  kvp_status status = sizes(problem, &size, text, bytes);
  if (status != KVP_OK) return status;
  if (buffers == nullptr) return err.fail(KVP_INVALID, "buffers: null");
  const kvp_problem& p = *problem;
  std::vector<UsedBuffer> used = cache_buffers(p, size, *buffers, false, any_tail(p));
  const uint64_t out = total_tokens(p) * p.kv_heads * p.head_size * sizeof(uint16_t);
  used.push_back({"k_out", buffers->k_out, out, true});
  used.push_back({"v_out", buffers->v_out, out, true});
  status = check_buffers(used, err);
  if (status != KVP_OK) return status;
  const dev::Status launched = launch_dequantize(p, *buffers, stream);
  return launched.ok() ? KVP_OK : err.fail(launched.code, "dequantize: %s", launched.text);
}

static kvp_status decode(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                         char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  kvp_sizes size;
  kvp_status status = sizes(problem, &size, text, bytes);
  if (status != KVP_OK) return status;
  if (buffers == nullptr) return err.fail(KVP_INVALID, "buffers: null");
  const kvp_problem& p = *problem;
  const uint64_t queries = uint64_t{p.requests} * p.query_tokens, rows = queries * p.query_heads;
  const uint64_t q_bytes =
      tensor_bytes(queries, p.query_heads, p.head_size, p.q_token_stride, p.q_head_stride);
  std::vector<UsedBuffer> used = cache_buffers(p, size, *buffers, false, any_tail(p));
  used.insert(used.begin(), {"q", buffers->q, q_bytes, false});
  used.push_back({"workspace", buffers->workspace, size.workspace_bytes, true});
  used.push_back({"output", buffers->output, rows * p.head_size * sizeof(uint16_t), true});
  used.push_back({"lse", buffers->lse, rows * sizeof(float), true});
  status = check_buffers(used, err);
  if (status != KVP_OK) return status;
  dev::DeviceFacts facts;
  const dev::Status asked = dev::device_facts(facts);
  if (!asked.ok()) return err.fail(asked.code, "%s", asked.text);
  const dev::Status launched = launch_decode(*problem, *buffers, size.splits, facts.sm, stream);
  return launched.ok() ? KVP_OK : err.fail(launched.code, "decode: %s", launched.text);
}

// properties/kernel.ts, Capabilities, without what depends on the device. sumLanes: a query's sum
// is shared by eight lanes. schedule: warps of a block for parts of so many bytes (ring.h), in the
// order of reference/scheduled/schedule.ts.
static_assert(AsyncRing<1>::warps_for(8192) == 4 && AsyncRing<1>::warps_for(16384) == 2 &&
              AsyncRing<1>::warps_for(32768) == 1);
static_assert(BulkRing<1>::warps_for(8192) == 4 && BulkRing<1>::warps_for(16384) == 3 &&
              BulkRing<1>::warps_for(32768) == 3);
static const char capabilities[] =
    "{\"name\":\"kvproof\",\"formats\":["
    "{\"format\":\"bitdecoding\",\"kAxis\":[\"channel\",\"token\"],\"bits\":[8,4,2],"
    "\"groups\":[128,64,32],\"headSizes\":[64,128,256],\"types\":[\"fp16\",\"bf16\"]},"
    "{\"format\":\"bitdecoding\",\"kAxis\":[\"token\"],\"bits\":[8,4,2],"
    "\"groups\":[256],\"headSizes\":[256],\"types\":[\"fp16\",\"bf16\"]},"
    "{\"format\":\"fp16\",\"kAxis\":[\"channel\"],\"bits\":[16],"
    "\"groups\":[128],\"headSizes\":[64,128,256],\"types\":[\"fp16\",\"bf16\"]}],"
    "\"layout\":\"record128\",\"tokensMax\":16777216,\"headsPerKvMax\":64,\"queryTokensMax\":8,"
    "\"paged\":true,\"append\":true,\"dequantize\":true,\"strided\":true,"
    "\"arithmetic\":{\"operands\":\"folded\",\"sumLanes\":8,\"schedule\":["
    "{\"sm\":80,\"warps\":[[8192,4],[16384,2],[32768,1]]},"
    "{\"sm\":90,\"warps\":[[8192,4],[32768,3]],\"exponential\":\"ex2.approx.ftz.f32\"}]},"
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
                                    append,
                                    dequantize};
  return &kernel;
}
