// arrangement.cpp - spreads the rows of tensors, as arrangement.h says.
#include "arrangement.h"

#include <cstring>

namespace kvproof {
namespace {

// Rows of head_size words in the order of the buffer; null: a row that no kernel may read.
using Rows = std::vector<const uint16_t*>;

// Rows of (tokens, heads) at these distances.
Arranged spread(const Problem& problem, const Rows& rows, uint64_t heads, const RowStrides& strides,
                uint8_t poison) {
  const uint64_t row_bytes = problem.head_size * sizeof(uint16_t);
  Arranged arranged;
  arranged.bytes = rows.size() / heads * strides.token * sizeof(uint16_t);
  arranged.copy.assign(arranged.bytes, poison);
  const auto place = [&](uint64_t i) {
    return (i / heads * strides.token + i % heads * strides.head) * sizeof(uint16_t);
  };
  for (uint64_t i = 0; i < rows.size(); ++i) {
    const uint64_t used = rows[i] == nullptr ? 0 : row_bytes;
    if (used != 0) std::memcpy(arranged.copy.data() + place(i), rows[i], used);
    const uint64_t end = i + 1 < rows.size() ? place(i + 1) : arranged.bytes;
    if (place(i) + used < end) arranged.gaps.push_back(Gap{place(i) + used, end - place(i) - used});
  }
  arranged.data = arranged.copy.data();
  return arranged;
}

Arranged borrowed(const void* data, uint64_t bytes) {
  Arranged arranged;
  arranged.data = data;
  arranged.bytes = bytes;
  return arranged;
}

// First token of each request in k and v.
std::vector<uint64_t> first_tokens(const Problem& problem) {
  std::vector<uint64_t> first;
  uint64_t next = 0;
  for (int64_t tokens : problem.tokens) {
    first.push_back(next);
    next += static_cast<uint64_t>(tokens);
  }
  return first;
}

}  // namespace

Arranged arrange_queries(const Problem& problem, const uint16_t* q, uint8_t poison) {
  if (problem.input_padding == 0) return borrowed(q, problem.query_elements() * sizeof(uint16_t));
  Rows rows;
  for (uint64_t i = 0; i < problem.lse_elements(); ++i) rows.push_back(q + i * problem.head_size);
  return spread(problem, rows, problem.query_heads, problem.query_strides(), poison);
}

Arranged arrange_quantized(const Problem& problem, const uint16_t* x, const RowStrides& strides,
                           uint8_t poison) {
  if (problem.input_padding == 0 && problem.appended == 0) {
    return borrowed(x, problem.kv_elements() * sizeof(uint16_t));
  }
  const std::vector<uint64_t> first = first_tokens(problem);
  const Lengths lengths = problem.quantized_lengths();
  Rows rows;
  for (size_t r = 0; r < lengths.size(); ++r) {
    const uint16_t* request = x + first[r] * problem.kv_heads * problem.head_size;
    for (uint64_t i = 0; i < static_cast<uint64_t>(lengths[r]) * problem.kv_heads; ++i) {
      rows.push_back(request + i * problem.head_size);
    }
  }
  return spread(problem, rows, problem.kv_heads, strides, poison);
}

Arranged arrange_appended(const Problem& problem, const uint16_t* x, const RowStrides& strides,
                          uint8_t poison) {
  const std::vector<uint64_t> first = first_tokens(problem);
  const Lengths lengths = problem.quantized_lengths();
  Rows rows;
  for (uint64_t step = 0; step < problem.steps(); ++step) {
    for (size_t r = 0; r < lengths.size(); ++r) {
      const bool appends = step < problem.appended_tokens(r);
      const uint64_t token = first[r] + static_cast<uint64_t>(lengths[r]) + step;
      for (uint64_t head = 0; head < problem.kv_heads; ++head) {
        const uint64_t row = token * problem.kv_heads + head;
        rows.push_back(appends ? x + row * problem.head_size : nullptr);
      }
    }
  }
  return spread(problem, rows, problem.kv_heads, strides, poison);
}

Arranged arrange_page_table(const Problem& problem, const int32_t* table, uint8_t poison) {
  const uint64_t stride = problem.page_table_stride;
  Arranged arranged;
  arranged.bytes = problem.tokens.size() * stride * sizeof(int32_t);
  arranged.copy.assign(arranged.bytes, poison);
  for (size_t r = 0; r < problem.tokens.size(); ++r) {
    const auto records = static_cast<uint64_t>(problem.tokens[r]) / KVP_RECORD_TOKENS;
    const uint64_t at = r * stride * sizeof(int32_t), used = records * sizeof(int32_t);
    for (uint64_t i = 0; i < records; ++i) {
      const int32_t page = table[r * stride + i] + static_cast<int32_t>(problem.first_page);
      std::memcpy(arranged.copy.data() + at + i * sizeof(page), &page, sizeof(page));
    }
    if (records < stride) {
      arranged.gaps.push_back(Gap{at + used, (stride - records) * sizeof(int32_t)});
    }
  }
  arranged.data = arranged.copy.data();
  return arranged;
}

}  // namespace kvproof
