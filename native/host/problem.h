// problem.h - a problem and the options of a run as the host owns them.
//
// kvp_problem (kernel_abi.h) only borrows its strings and its token counts. Problem owns them and
// lends a view for the length of one call, so that nothing dangles when the JavaScript values it
// came from are collected. Every Problem in existence has passed arguments.cpp: the products below
// cannot overflow.
#ifndef KVPROOF_HOST_PROBLEM_H
#define KVPROOF_HOST_PROBLEM_H

#include <algorithm>
#include <cstdint>
#include <string>

#include "../plugin/kernel_abi.h"
#include "host_array.h"

namespace kvproof {

// Distances in elements: from one head to the next and from one token to the next.
struct RowStrides {
  uint64_t head, token;
};

struct Problem {
  std::string format;
  Lengths tokens;  // (requests)
  uint32_t query_heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_size = 0;
  uint32_t bits = 0;
  uint32_t group = 0;
  uint32_t k_axis = KVP_AXIS_CHANNEL;
  uint32_t splits = 0;
  float softmax_scale = 0.0f;
  uint32_t query_tokens = 1;
  uint32_t type = KVP_FP16;
  uint32_t page_table_stride = 0;
  uint32_t pool_pages = 0;     // that stand in memory
  uint32_t first_page = 0;     // pages of the pool before them, of which there is only the address
  Lengths kept;                // (requests), or empty
  uint64_t appended = 0;       // the last tokens of each request come one a step
  uint64_t input_padding = 0;  // elements: a unit of the gaps between the rows of q, k and v

  // Valid while this object lives and is not changed.
  kvp_problem view() const { return view(tokens, kept); }

  // The same with other lengths, which the caller keeps alive: those of a step.
  kvp_problem view(const Lengths& lengths, const Lengths& kept_lengths) const {
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
    problem.tokens = lengths.data();
    problem.query_tokens = query_tokens;
    problem.type = type;
    problem.page_table_stride = page_table_stride;
    problem.pool_pages = first_page + pool_pages;
    problem.kept = kept_lengths.empty() ? nullptr : kept_lengths.data();
    if (input_padding > 0) {
      const RowStrides q = query_strides(), k = key_strides(), v = value_strides();
      problem.q_head_stride = q.head, problem.q_token_stride = q.token;
      // 0 stands for a distance that follows from the other one (kernel_abi.h).
      problem.k_head_stride = k.head, problem.k_token_stride = 0;
      problem.v_head_stride = 0, problem.v_token_stride = v.token;
    }
    return problem;
  }

  // Unlike for q, k and v, so that no distance can be had from another tensor's: gaps behind heads
  // and, further, behind tokens of q, behind heads alone of k, behind tokens alone of v. Dense
  // without padding.
  RowStrides query_strides() const { return strides_of(query_heads, 1, 1); }
  RowStrides key_strides() const { return strides_of(kv_heads, 2, 0); }
  RowStrides value_strides() const { return strides_of(kv_heads, 0, 2); }

  // Tokens of request r that are appended one a step, and the steps that this takes.
  uint64_t appended_tokens(size_t r) const {
    return std::min(appended, static_cast<uint64_t>(tokens[r]));
  }
  uint64_t steps() const {
    uint64_t most = 0;
    for (size_t r = 0; r < tokens.size(); ++r) most = std::max(most, appended_tokens(r));
    return most;
  }
  // Lengths for quantize: all tokens but the appended ones.
  Lengths quantized_lengths() const {
    Lengths lengths = tokens;
    for (size_t r = 0; r < tokens.size(); ++r) {
      lengths[r] -= static_cast<int64_t>(appended_tokens(r));
    }
    return lengths;
  }
  // Lengths for append number `step`: with the token of the step, 0 where a request has none left.
  Lengths appended_lengths(uint64_t step) const {
    Lengths lengths = quantized_lengths();
    for (size_t r = 0; r < tokens.size(); ++r) {
      lengths[r] = step < appended_tokens(r) ? lengths[r] + static_cast<int64_t>(step) + 1 : 0;
    }
    return lengths;
  }
  // Of the kept tokens, those whose records these lengths have.
  Lengths kept_lengths(const Lengths& lengths) const {
    Lengths now = kept;
    for (size_t r = 0; r < now.size(); ++r) {
      now[r] = std::min(now[r], lengths[r] / KVP_RECORD_TOKENS * KVP_RECORD_TOKENS);
    }
    return now;
  }

  uint64_t total_tokens() const {
    uint64_t total = 0;
    for (int64_t length : tokens) total += static_cast<uint64_t>(length);
    return total;
  }

  // Elements of q and of the output: (requests, query_tokens, query_heads, head_size).
  uint64_t query_elements() const { return lse_elements() * head_size; }
  // Elements of k and of v: (sum of tokens, kv_heads, head_size).
  uint64_t kv_elements() const { return total_tokens() * kv_heads * head_size; }
  // Elements of lse: (requests, query_tokens, query_heads).
  uint64_t lse_elements() const { return tokens.size() * uint64_t{query_tokens} * query_heads; }

 private:
  // Gaps behind each head and, further, behind each token, in units of the padding.
  RowStrides strides_of(uint64_t heads, uint64_t head_gaps, uint64_t token_gaps) const {
    const uint64_t head = head_size + head_gaps * input_padding;
    return {head, heads * head + token_gaps * input_padding};
  }
};

// How the emulator interleaves warps and lands copies; names as in kvp_schedule.
struct Schedule {
  std::string policy = "round-robin";
  std::string copies = "eager";
  uint64_t seed = 0;
  uint32_t starved_warp = 0;
};

struct RunOptions {
  uint8_t poison = 0xFF;    // byte that fills everything a kernel has to write
  Schedule schedule;        // used by emulated kernels only
  bool dequantize = false;  // reads keys and values back
  uint32_t decodes = 0;     // decode runs so often and is timed; 0: once, not timed
  bool own_stream = false;  // on a new stream, on which the inputs arrive late
};

}  // namespace kvproof

#endif
