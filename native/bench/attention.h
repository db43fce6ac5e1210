// attention.h - one problem of a kernel on the device: its buffers, filled and run once.
#pragma once
#include "clock.h"

namespace kvproof_bench_library {

// The problem with its strings and lengths owned, and a page table for append.
struct Attention {
  const kvp_kernel* kernel = nullptr;
  kvp_problem problem{};
  kvp_buffers buffers{};
  kvp_sizes sizes{};
  std::string format;
  std::vector<int64_t> tokens;  // (requests)
  bool has_append = false;
  uint16_t* k_new = nullptr;  // (requests, kv_heads, head_size): the last token of each request
  uint16_t* v_new = nullptr;

  uint64_t token_elements() const { return uint64_t{problem.kv_heads} * problem.head_size; }
  uint64_t total_tokens() const;
  Answer make(const kvp_kernel* table, const kvp_problem& given, bool with_append);
  // k and v may be null: they are allocated and filled then.
  Answer fill(uint64_t seed, uint16_t* k, uint16_t* v);
  Answer make_cache() const;
  Answer run(kvp_bench_op op, cudaStream_t stream) const;
};

}  // namespace kvproof_bench_library
