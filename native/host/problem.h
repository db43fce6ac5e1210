// problem.h - a problem and the options of a run as the host owns them.
//
// kvp_problem (kernel_abi.h) only borrows its strings and its token counts. Problem owns them and
// lends a view for the length of one call, so that nothing dangles when the JavaScript values it
// came from are collected. Every Problem in existence has passed arguments.cpp: the products below
// cannot overflow.
#ifndef KVPROOF_HOST_PROBLEM_H
#define KVPROOF_HOST_PROBLEM_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../plugin/kernel_abi.h"

namespace kvproof {

struct Problem {
  std::string format;
  std::vector<int64_t> tokens;  // (requests)
  uint32_t query_heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_size = 0;
  uint32_t bits = 0;
  uint32_t group = 0;
  uint32_t k_axis = KVP_AXIS_CHANNEL;
  uint32_t splits = 0;
  float softmax_scale = 0.0f;

  // Valid while this object lives and is not changed.
  kvp_problem view() const {
    kvp_problem problem{};
    problem.struct_bytes = sizeof(kvp_problem);
    problem.requests = static_cast<uint32_t>(tokens.size());
    problem.query_heads = query_heads;
    problem.kv_heads = kv_heads;
    problem.head_size = head_size;
    problem.bits = bits;
    problem.group = group;
    problem.k_axis = k_axis;
    problem.splits = splits;
    problem.softmax_scale = softmax_scale;
    problem.format = format.c_str();
    problem.tokens = tokens.data();
    return problem;
  }

  uint64_t total_tokens() const {
    uint64_t total = 0;
    for (int64_t length : tokens) total += static_cast<uint64_t>(length);
    return total;
  }

  // Elements of q and of the output: (requests, query_heads, head_size).
  uint64_t query_elements() const { return lse_elements() * head_size; }
  // Elements of k and of v: (sum of tokens, kv_heads, head_size).
  uint64_t kv_elements() const { return total_tokens() * kv_heads * head_size; }
  // Elements of lse: (requests, query_heads).
  uint64_t lse_elements() const { return static_cast<uint64_t>(tokens.size()) * query_heads; }
};

// How the emulator interleaves warps and lands copies; names as in kvp_schedule.
struct Schedule {
  std::string policy = "round-robin";
  std::string copies = "eager";
  uint64_t seed = 0;
  uint32_t starved_warp = 0;
};

struct RunOptions {
  uint8_t poison = 0xFF;  // byte that fills everything a kernel has to write
  Schedule schedule;      // used by emulated kernels only
};

}  // namespace kvproof

#endif
