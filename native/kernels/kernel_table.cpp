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

enum class Op { quantize, append, decode, dequantize };
constexpr const char* op_names[] = {"quantize", "append", "decode", "dequantize"};

// Every buffer that a call may use, of 0 bytes where this one does not.
static std::vector<UsedBuffer> used_buffers(Op op, const kvp_problem& p, const kvp_sizes& size,
                                            const kvp_buffers& b) {
  const bool adds = op == Op::quantize || op == Op::append;
  const auto bytes_of = [](bool is_used, uint64_t bytes) { return is_used ? bytes : 0; };
  const auto new_bytes = [&](uint64_t token_stride, uint64_t head_stride) {
    const uint64_t rows = op == Op::append ? p.requests : total_tokens(p);
    return bytes_of(adds, tensor_bytes(rows, p.kv_heads, p.head_size, token_stride, head_stride));
  };
  const uint64_t queries = uint64_t{p.requests} * p.query_tokens, rows = queries * p.query_heads;
  const auto of_decode = [&](uint64_t bytes) { return bytes_of(op == Op::decode, bytes); };
  const bool packed = records_of(p) > 0, has_tail = op == Op::append || any_tail(p);
  const uint64_t window = bytes_of(has_tail, size.residual_bytes);
  const uint64_t entries = bytes_of(packed, uint64_t{p.requests} * p.page_table_stride);
  const uint64_t out =
      bytes_of(op == Op::dequantize, total_tokens(p) * p.kv_heads * p.head_size * sizeof(uint16_t));
  return {{"q", b.q,
           of_decode(tensor_bytes(queries, p.query_heads, p.head_size, p.q_token_stride,
                                  p.q_head_stride)),
           false},
          {"k", b.k, new_bytes(p.k_token_stride, p.k_head_stride), false},
          {"v", b.v, new_bytes(p.v_token_stride, p.v_head_stride), false},
          {"cache", b.cache, bytes_of(packed, size.cache_bytes), adds},
          {"k_residual", b.k_residual, window, adds},
          {"v_residual", b.v_residual, window, adds},
          {"page_table", b.page_table, entries * sizeof(int32_t), false, sizeof(int32_t)},
          {"workspace", b.workspace, of_decode(size.workspace_bytes), true},
          {"output", b.output, of_decode(rows * p.head_size * sizeof(uint16_t)), true},
          {"lse", b.lse, of_decode(rows * sizeof(float)), true},
          {"k_out", b.k_out, out, true},
          {"v_out", b.v_out, out, true}};
}

static dev::Status launch(Op op, const kvp_problem& problem, const kvp_buffers& buffers,
                          uint32_t splits, void* stream) {
  if (op == Op::dequantize) return launch_dequantize(problem, buffers, stream);
  if (op != Op::decode) return launch_quantize(problem, buffers, op == Op::append, stream);
  dev::DeviceFacts facts;
  const dev::Status asked = dev::device_facts(facts);
  return asked.ok() ? launch_decode(problem, buffers, splits, facts.sm, stream) : asked;
}

template <Op op>
static kvp_status call(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                       char* text, size_t bytes) {
  const ErrorSink err{text, bytes};
  kvp_sizes size;
  kvp_status status = sizes(problem, &size, text, bytes);
  if (status != KVP_OK) return status;
  if (op == Op::append && problem->page_table_stride == 0) {
    return err.fail(KVP_INVALID, "problem.page_table_stride: 0, append needs a page table");
  }
  if (buffers == nullptr) return err.fail(KVP_INVALID, "buffers: null");
  status = check_buffers(used_buffers(op, *problem, size, *buffers), err);
  if (status != KVP_OK) return status;
  const dev::Status launched = launch(op, *problem, *buffers, size.splits, stream);
  if (launched.ok()) return KVP_OK;
  return err.fail(launched.code, "%s: %s", op_names[static_cast<int>(op)], launched.text);
}

// properties/kernel.ts, Capabilities, without what depends on the device. sumLanes: a query's sum
// is shared by eight lanes. schedule: warps of a block for parts of so many bytes (ring.h), in the
// order of reference/scheduled/schedule.ts.
static_assert(AsyncRing<1>::warps_for(8192) == 4 && AsyncRing<1>::warps_for(16384) == 2 &&
              AsyncRing<1>::warps_for(32768) == 1);
static_assert(BulkRing<1>::warps_for(8192) == 4 && BulkRing<1>::warps_for(16384) == 3 &&
              BulkRing<1>::warps_for(32768) == 3);
static const char capabilities[] =
    R"({"name":"kvproof","formats":[
{"format":"bitdecoding","kAxis":["channel","token"],"bits":[8,4,2],"groups":[128,64,32],
 "headSizes":[64,128,256],"types":["fp16","bf16"]},
{"format":"bitdecoding","kAxis":["token"],"bits":[8,4,2],"groups":[256],"headSizes":[256],
 "types":["fp16","bf16"]},
{"format":"fp16","kAxis":["channel"],"bits":[16],"groups":[128],"headSizes":[64,128,256],
 "types":["fp16","bf16"]}],
"layout":"record128","tokensMax":16777216,"headsPerKvMax":64,"queryTokensMax":8,"paged":true,
"append":true,"dequantize":true,"strided":true,"arithmetic":{"operands":"folded","sumLanes":8,
"schedule":[{"sm":80,"warps":[[8192,4],[16384,2],[32768,1]]},
{"sm":90,"warps":[[8192,4],[32768,3]],"exponential":"ex2.approx.ftz.f32"}]},
"tiles":[8,16,32,64,128,1024],"deterministic":true,"batchInvariant":true,
"complete":true})";

}  // namespace kvproof

const kvp_kernel* kvproof_kernel(void) {
  using namespace kvproof;
  static const kvp_kernel kernel = {KVPROOF_ABI_VERSION, sizeof(kvp_kernel), "kvproof",
                                    capabilities,        supports,           sizes,
                                    call<Op::quantize>,  call<Op::decode>,   platform_memory(),
                                    platform_emulator(), call<Op::append>,   call<Op::dequantize>};
  return &kernel;
}
