// arrangement.h - how the tensors of a case lie in device memory: dense as they came, or with rows
// apart, without the tokens that are appended later, or step by step.
//
// Copies words and computes none. What lies between is poison, and listed as a gap, so that an
// emulated kernel that reads it is reported.
#ifndef KVPROOF_HOST_ARRANGEMENT_H
#define KVPROOF_HOST_ARRANGEMENT_H

#include <cstdint>
#include <vector>

#include "buffers.h"
#include "problem.h"

namespace kvproof {

// Borrows `data` from the caller where nothing has to move.
struct Arranged {
  const void* data = nullptr;
  uint64_t bytes = 0;
  std::vector<Gap> gaps;
  std::vector<uint8_t> copy;  // what data points to, if it is not borrowed
};

// q: (requests, query_tokens, query_heads, head_size), with query_strides()
Arranged arrange_queries(const Problem& problem, const uint16_t* q, uint8_t poison);
// k or v: (sum of the tokens that are not appended, kv_heads, head_size)
Arranged arrange_quantized(const Problem& problem, const uint16_t* x, const RowStrides& strides,
                           uint8_t poison);
// k or v: (steps, requests, kv_heads, head_size), a gap where a request gets no token
Arranged arrange_appended(const Problem& problem, const uint16_t* x, const RowStrides& strides,
                          uint8_t poison);
// (requests, page_table_stride), in pages of the whole pool, poison behind the records of a request
Arranged arrange_page_table(const Problem& problem, const int32_t* table, uint8_t poison);

}  // namespace kvproof

#endif
