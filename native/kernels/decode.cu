// decode.cu - the launcher of decode: how many splits, which kernel, then combine.
#include "ring.h"

namespace kvproof {

// Blocks of about the same length that fill the device once, at ring_blocks a multiprocessor; never
// more than the longest request has records.
uint32_t chosen_splits(const kvp_problem& problem, uint32_t multiprocessors) {
  const uint64_t rows =
      static_cast<uint64_t>(problem.query_heads / problem.kv_heads) * problem.query_tokens;
  const uint64_t tiles = (rows + query_tile_rows - 1) / query_tile_rows;
  const uint64_t blocks = tiles * problem.requests * problem.kv_heads;
  uint64_t records = 1;
  for (uint32_t i = 0; i < problem.requests; i++) {
    const uint64_t of_request = static_cast<uint64_t>(problem.tokens[i]) / record_tokens;
    records = of_request > records ? of_request : records;
  }
  uint64_t splits = ring_blocks * multiprocessors / blocks;
  splits = splits < 1 ? 1 : splits;
  return static_cast<uint32_t>(splits < records ? splits : records);
}

static LaunchDecode* decode_kernel_for(uint32_t head_size, uint32_t sm) {
  if (sm >= 90) {
    return head_size == 64    ? launch_decode_bulk_64
           : head_size == 128 ? launch_decode_bulk_128
                              : launch_decode_bulk_256;
  }
  return head_size == 64    ? launch_decode_async_64
         : head_size == 128 ? launch_decode_async_128
                            : launch_decode_async_256;
}

dev::Status launch_decode(const kvp_problem& problem, const kvp_buffers& buffers, uint32_t splits,
                          uint32_t sm, void* stream) {
  LaunchDecode* launch_splits = decode_kernel_for(problem.head_size, sm);
  DecodeArguments args = decode_arguments(problem, buffers, splits);
  return for_each_request_table(problem, [&](const RequestTable& table) {
    args.requests = table;
    const dev::Status launched = launch_splits(args, problem.bits, stream);
    return launched.ok() && splits > 1 ? launch_combine(args, stream) : launched;
  });
}

}  // namespace kvproof
