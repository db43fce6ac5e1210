// decode.cu - the launcher of decode: how many splits, which kernel, then combine.
#include "ring.h"

namespace kvproof {

// Blocks of about the same length that fill the device once, at ring_blocks a multiprocessor; never
// more than the longest request has records.
uint32_t chosen_splits(const kvp_problem& problem, uint32_t multiprocessors) {
  const DecodeArguments args = decode_arguments(problem, kvp_buffers{}, 1);
  const uint64_t blocks = uint64_t{args.query_tiles} * problem.requests * problem.kv_heads;
  uint64_t records = 1;
  if (longest_records(problem) > records) records = longest_records(problem);
  uint64_t splits = ring_blocks * multiprocessors / blocks;
  splits = splits < 1 ? 1 : splits;
  splits = splits < records ? splits : records;
  // As few as do not make the longest block longer: combine has less to read.
  const uint64_t length = (records + splits - 1) / splits;
  return static_cast<uint32_t>((records + length - 1) / length);
}

template <template <int> class RingOf>
static LaunchDecode* decode_kernel_for(uint32_t head_size) {
  return head_size == 64    ? launch_decode_bits<64, RingOf>
         : head_size == 128 ? launch_decode_bits<128, RingOf>
                            : launch_decode_bits<256, RingOf>;
}

dev::Status launch_decode(const kvp_problem& problem, const kvp_buffers& buffers, uint32_t splits,
                          uint32_t sm, void* stream) {
  LaunchDecode* launch_splits = sm >= 90 ? decode_kernel_for<BulkRing>(problem.head_size)
                                         : decode_kernel_for<AsyncRing>(problem.head_size);
  DecodeArguments args = decode_arguments(problem, buffers, splits);
  return for_each_request_table(problem, [&](const RequestTable& table) {
    args.requests = table;
    const dev::Status launched = launch_splits(args, problem.bits, stream);
    return launched.ok() && splits > 1 ? launch_combine(args, stream) : launched;
  });
}

}  // namespace kvproof
