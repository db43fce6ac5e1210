// problem_checks.h - every argument of the C interface is checked here, once, and the launchers
// trust it: shape, type, alignment, device, overlap, limits of the launch.
//
// KVP_INVALID is a request that makes no sense, KVP_UNSUPPORTED one that makes sense and is not
// implemented; limits are those of the launch (grid sizes) and of the exponents in softmax_state.h
// (|softmax_scale| <= 2^15 keeps every score below 2^55). Nothing is written before all checks
// pass. Entries of a page table lie in device memory and are trusted.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "../plugin/kernel_abi.h"

namespace kvproof {

// Where an error goes; the sentence is cut to fit and always terminated.
struct ErrorSink {
  char* text;
  size_t bytes;

  __attribute__((format(printf, 3, 4))) kvp_status fail(kvp_status status, const char* format,
                                                        ...) const;
};

kvp_status check_problem(const kvp_problem* problem, const ErrorSink& err);

// Pages of the cache: of the pool, or one for each record.
uint64_t pages_of(const kvp_problem& p);
uint64_t total_tokens(const kvp_problem& p);
bool any_tail(const kvp_problem& p);

// A buffer of a call. One of no bytes is not used, and may be null.
struct UsedBuffer {
  const char* name;
  const void* address;
  uint64_t bytes;
  bool is_written;
  uint32_t alignment = 16;  // of copies
};

// There, aligned, memory of the device, and what is written overlaps nothing else.
kvp_status check_buffers(const std::vector<UsedBuffer>& buffers, const ErrorSink& err);

// Bytes from the first to the last element of (rows, heads, head_size) with strides, 0 without
// rows.
uint64_t tensor_bytes(uint64_t rows, uint64_t heads, uint64_t head_size, uint64_t token_stride,
                      uint64_t head_stride);

}  // namespace kvproof
