// decode_arguments.h - what decode and combine hand to each other, and how a call is cut into
// blocks.
//
// The query rows of a KV head are its query heads of query token 0, then of token 1, and so on; a
// block takes eight of them and one split of the request's records. Its partial result goes to the
// workspace: for each (request, KV head, query row, split) D f32 outputs that are not divided by
// the sum yet, and their (maximum, sum) in base-2 exponents. combine merges the splits; with one
// split, the block writes the output itself.
#pragma once
#include "../simt/device.h"
#include "numerics.h"
#include "requests.h"

namespace kvproof {

constexpr int query_tile_rows = 8;
constexpr uint32_t query_tokens_max = 8;
// Caches up to this size may stay in the second level cache (50 MB on an H100) between calls.
constexpr uint64_t kept_bytes = 32ull << 20;

struct DecodeArguments : CacheArguments {
  const uint16_t* q;        // (requests, query_tokens, query_heads, D), with strides
  float* partial;           // (requests, kv_heads, query rows, splits, D)
  float2* partial_softmax;  // (requests, kv_heads, query rows, splits): maximum, sum
  uint16_t* output;         // (requests, query_tokens, query_heads, D)
  float* lse;               // (requests, query_tokens, query_heads), natural logarithm
  Strides q_strides;
  uint32_t query_heads, query_tokens;
  uint32_t heads_per_kv, query_rows, query_tiles;  // query rows and tiles of a KV head
  uint32_t splits;
  float k2;             // softmax_scale log2(e), rounded once
  uint32_t slot_bytes;  // of a ring
  bool read_once;       // of the cache: a record by one block, and all of it exceeds the L2 cache

  // More than one token group of K or channel group in a record.
  constexpr bool is_grouped() const {
    return group < head_size || (!k_per_token && group < record_tokens);
  }
  // Index of (request, KV head, query row, split 0) in partial_softmax.
  constexpr size_t partial_index(uint32_t request, uint32_t kv_head, uint32_t row) const {
    return ((static_cast<size_t>(request) * kv_heads + kv_head) * query_rows + row) * splits;
  }
  // Tokens that a query row sees: the query tokens are the last ones of the request.
  constexpr int seen(const Request& request, uint32_t row) const {
    const int token = query_tokens == 1 ? 0 : static_cast<int>(row / heads_per_kv);
    const int tokens =
        static_cast<int>(request.tokens) - static_cast<int>(query_tokens) + 1 + token;
    return tokens > 0 ? tokens : 0;
  }
};

constexpr uint64_t workspace_bytes(const kvp_problem& p, uint64_t splits) {
  return uint64_t{p.requests} * p.query_heads * p.query_tokens * splits *
         (p.head_size * sizeof(float) + sizeof(float2));
}

// Everything but the requests and the ring.
inline DecodeArguments decode_arguments(const kvp_problem& problem, const kvp_buffers& buffers,
                                        uint32_t splits) {
  DecodeArguments args{};
  set_cache(args, problem, buffers);
  const size_t partials =
      static_cast<size_t>(problem.requests) * problem.query_heads * problem.query_tokens * splits;
  args.q = buffers.q;
  args.partial = reinterpret_cast<float*>(buffers.workspace);
  args.partial_softmax = reinterpret_cast<float2*>(args.partial + partials * problem.head_size);
  args.output = buffers.output;
  args.lse = buffers.lse;
  args.q_strides = strides_of(problem.q_token_stride, problem.q_head_stride, problem.query_heads,
                              problem.head_size);
  args.query_heads = problem.query_heads;
  args.query_tokens = problem.query_tokens;
  args.heads_per_kv = problem.query_heads / problem.kv_heads;
  args.query_rows = args.heads_per_kv * problem.query_tokens;
  args.query_tiles = (args.query_rows + query_tile_rows - 1) / query_tile_rows;
  args.splits = splits;
  args.k2 = problem.softmax_scale * log2_e;
  args.read_once = args.query_tiles == 1 &&
                   records_of(problem) * problem.kv_heads * args.record.bytes() > kept_bytes;
  return args;
}

// The number of splits that decode uses when the caller leaves it open.
uint32_t chosen_splits(const kvp_problem& problem, uint32_t multiprocessors);

// sm: from 90 on the ring of bulk copies, else the one of cp.async.
dev::Status launch_decode(const kvp_problem& problem, const kvp_buffers& buffers, uint32_t splits,
                          uint32_t sm, void* stream);
// The plain version: no tensor cores, no splits, whatever the format.
dev::Status launch_decode_plain(const kvp_problem& problem, const kvp_buffers& buffers,
                                void* stream);
dev::Status launch_combine(const DecodeArguments& args, void* stream);

dev::Status launch_quantize(const kvp_problem& problem, const kvp_buffers& buffers, bool is_append,
                            void* stream);
dev::Status launch_dequantize(const kvp_problem& problem, const kvp_buffers& buffers, void* stream);
// The plain version: one thread for each group, codes as bytes in shared memory, packed at the end.
dev::Status launch_quantize_plain(const kvp_problem& problem, const kvp_buffers& buffers,
                                  void* stream);

}  // namespace kvproof
