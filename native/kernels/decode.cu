// decode.cu - the launcher of decode: how many splits, which ring, then combine.
#include "decode_arguments.h"

namespace kvproof {

uint32_t chosen_splits(const kvp_problem& problem, uint32_t multiprocessors) {
  const uint32_t group_size = problem.query_heads / problem.kv_heads;
  const uint64_t tiles = (group_size + query_tile_rows - 1) / query_tile_rows;
  const uint64_t blocks = tiles * problem.requests * problem.kv_heads;
  uint64_t records = 1;
  for (uint32_t i = 0; i < problem.requests; i++) {
    const uint64_t of_request = static_cast<uint64_t>(problem.tokens[i]) / record_tokens;
    records = of_request > records ? of_request : records;
  }
  uint64_t splits = multiprocessors / blocks;
  splits = splits < 1 ? 1 : splits;
  return static_cast<uint32_t>(splits < records ? splits : records);
}

dev::Status launch_decode(const kvp_problem& problem, const kvp_buffers& buffers, uint32_t splits,
                          uint32_t sm, void* stream) {
  const auto launch_tiles = sm >= 90 ? launch_decode_bulk : launch_decode_async;
  DecodeArguments args = decode_arguments(problem, buffers, splits);
  return for_each_request_table(problem, [&](const RequestTable& table) {
    args.requests = table;
    const dev::Status launched = launch_tiles(args, problem.bits, problem.group, stream);
    return launched.ok() ? launch_combine(args, stream) : launched;
  });
}

}  // namespace kvproof
