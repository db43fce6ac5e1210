// decode_arguments.h - what decode and combine hand to each other, and how a call is cut into
// blocks.
//
// A block works on one split of the records of one (request, KV head, tile of 8 query heads). Its
// partial result goes to the workspace: for each (request, query head, split) 128 f32 outputs that
// are not divided by the sum yet, and their (maximum, sum) in base-2 exponents. combine merges the
// splits.
#pragma once
#include "../simt/device.h"
#include "numerics.h"
#include "requests.h"

namespace kvproof {

constexpr int query_tile_rows = 8;

struct DecodeArguments {
  const uint16_t* q;           // fp16 (requests, query_heads, 128)
  const uint8_t* cache;        // (pages, kv_heads, record)
  const uint16_t* k_residual;  // fp16 (requests, 128, kv_heads, 128)
  const uint16_t* v_residual;  // as k_residual
  float* partial;              // (requests, query_heads, splits, 128)
  float2* partial_softmax;     // (requests, query_heads, splits): maximum, sum
  uint16_t* output;            // fp16 (requests, query_heads, 128)
  float* lse;                  // (requests, query_heads), natural logarithm
  uint32_t query_heads;
  uint32_t kv_heads;
  uint32_t splits;
  float k2;  // softmax_scale log2(e), rounded once
  RequestTable requests;

  constexpr uint32_t group_size() const { return query_heads / kv_heads; }
  constexpr uint32_t query_tiles() const {
    return (group_size() + query_tile_rows - 1) / query_tile_rows;
  }
  // Index of (request, query head, split 0) in partial_softmax.
  constexpr size_t partial_index(uint32_t request, uint32_t query_head) const {
    return (static_cast<size_t>(request) * query_heads + query_head) * splits;
  }
};

constexpr uint64_t workspace_bytes(uint64_t requests, uint64_t query_heads, uint64_t splits) {
  return requests * query_heads * splits * (head_size * sizeof(float) + sizeof(float2));
}

// Everything but the requests.
inline DecodeArguments decode_arguments(const kvp_problem& problem, const kvp_buffers& buffers,
                                        uint32_t splits) {
  DecodeArguments args{};
  args.q = buffers.q;
  args.cache = buffers.cache;
  args.k_residual = buffers.k_residual;
  args.v_residual = buffers.v_residual;
  args.partial = reinterpret_cast<float*>(buffers.workspace);
  args.partial_softmax =
      reinterpret_cast<float2*>(args.partial + static_cast<size_t>(problem.requests) *
                                                   problem.query_heads * splits * head_size);
  args.output = buffers.output;
  args.lse = buffers.lse;
  args.query_heads = problem.query_heads;
  args.kv_heads = problem.kv_heads;
  args.splits = splits;
  args.k2 = problem.softmax_scale * log2_e;
  return args;
}

// The number of splits that decode uses when the caller leaves it open: as many as fill
// `multiprocessors` with one block each, but never more than the longest request has records.
uint32_t chosen_splits(const kvp_problem& problem, uint32_t multiprocessors);

// sm: from 90 on the ring of bulk copies, else the one of cp.async.
dev::Status launch_decode(const kvp_problem& problem, const kvp_buffers& buffers, uint32_t splits,
                          uint32_t sm, void* stream);
// The plain version: one thread for each output channel, two passes, no tensor cores.
dev::Status launch_decode_plain(const kvp_problem& problem, const kvp_buffers& buffers,
                                void* stream);
// One launch each for the requests of args: the splits with either ring, and their merge.
dev::Status launch_decode_bulk(const DecodeArguments& args, uint32_t bits, uint32_t group,
                               void* stream);
dev::Status launch_decode_async(const DecodeArguments& args, uint32_t bits, uint32_t group,
                                void* stream);
dev::Status launch_combine(const DecodeArguments& args, void* stream);
dev::Status launch_quantize(const kvp_problem& problem, const kvp_buffers& buffers, void* stream);
dev::Status launch_append(const kvp_problem& problem, const kvp_buffers& buffers, void* stream);
dev::Status launch_dequantize(const kvp_problem& problem, const kvp_buffers& buffers, void* stream);
// The plain version: one thread for each group, codes as bytes in shared memory, packed at the end.
dev::Status launch_quantize_plain(const kvp_problem& problem, const kvp_buffers& buffers,
                                  void* stream);

}  // namespace kvproof
