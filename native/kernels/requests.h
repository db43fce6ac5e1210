// requests.h - the requests of a launch, passed by value with its arguments.
//
// Lengths live in host memory (kvp_problem.tokens). A launch carries up to requests_per_launch of
// them in its parameters, so that no device memory has to be allocated, copied or kept alive for
// them; a larger batch takes several launches on the same stream. Parameters are limited to 4 KiB,
// and the emulator copies them for every thread.
#pragma once
#include "../simt/device.h"
#include "record.h"

namespace kvproof {

constexpr uint32_t requests_per_launch = 32;

struct Request {
  int64_t first_token;  // in k and v of quantize
  uint32_t tokens;
  uint32_t first_page;    // of a cache without a page table
  uint32_t kept_records;  // the first ones, which this request does not write

  constexpr uint32_t records() const { return tokens / record_tokens; }
  constexpr uint32_t tail() const { return tokens % record_tokens; }  // in the residual window
};

struct RequestTable {
  uint32_t first;  // number of row[0] in the batch
  uint32_t count;
  Request row[requests_per_launch];
};

// (requests, stride), or null: the records of a request follow one another.
struct PageTable {
  const int32_t* entries;  // in device memory
  uint32_t stride;

  DEV_FN size_t page(const RequestTable& table, uint32_t row, uint32_t record) const {
    if (entries == nullptr) return static_cast<size_t>(table.row[row].first_page) + record;
    return static_cast<size_t>(entries[static_cast<size_t>(table.first + row) * stride + record]);
  }
};

// Distances in elements, of (tokens, heads, head_size).
struct Strides {
  size_t token, head;
};

// As kvp_problem has them: 0 is dense.
constexpr Strides strides_of(uint64_t token, uint64_t head, uint64_t heads, uint64_t head_size) {
  const size_t head_stride = head != 0 ? head : head_size;
  return {token != 0 ? token : heads * head_stride, head_stride};
}

// Where the cache of some requests is, for every kernel.
struct CacheArguments {
  uint8_t* cache;        // (pages, kv_heads, record)
  uint16_t* k_residual;  // (requests, 128, kv_heads, D)
  uint16_t* v_residual;  // as k_residual
  PageTable pages;
  uint32_t kv_heads;
  uint32_t head_size;
  uint32_t group;
  bool k_per_token;    // K has parameters per token
  bool is_bf16;        // type of everything that is not packed
  RecordSizes record;  // of the cache
  RequestTable requests;

  // Token 0 of a residual window; tokens are window_stride() apart.
  DEV_FN uint16_t* window(bool is_v, uint32_t row, uint32_t kv_head) const {
    const size_t token = static_cast<size_t>(requests.first + row) * record_tokens;
    return (is_v ? v_residual : k_residual) + (token * kv_heads + kv_head) * head_size;
  }
  DEV_FN size_t window_stride() const { return static_cast<size_t>(kv_heads) * head_size; }
  // The K half or V half of a record.
  DEV_FN uint8_t* half(bool is_v, uint32_t row, uint32_t record_index, uint32_t kv_head) const {
    const size_t page = pages.page(requests, row, record_index);
    return cache + (page * kv_heads + kv_head) * record.bytes() +
           (is_v ? record.k_half_bytes() : 0);
  }
  // Channels that share a scale and a zero, where parameters belong to a token.
  constexpr int channel_group() const {
    return static_cast<int>(group < head_size ? group : head_size);
  }
};

// Everything but the requests.
inline void set_cache(CacheArguments& args, const kvp_problem& p, const kvp_buffers& buffers) {
  args.cache = buffers.cache;
  args.k_residual = buffers.k_residual;
  args.v_residual = buffers.v_residual;
  args.pages = {p.page_table_stride == 0 ? nullptr : buffers.page_table, p.page_table_stride};
  args.kv_heads = p.kv_heads;
  args.head_size = p.head_size;
  args.group = p.group;
  args.k_per_token = p.k_axis == KVP_AXIS_TOKEN;
  args.is_bf16 = p.type == KVP_BF16;
  args.record = record_sizes(p.bits, p.group, p.head_size, p.k_axis);
}

// Records of all requests, and of the longest one.
inline uint64_t records_of(const kvp_problem& p) {
  uint64_t records = 0;
  for (uint32_t i = 0; i < p.requests; i++) records += p.tokens[i] / record_tokens;
  return records;
}
inline uint64_t longest_records(const kvp_problem& p) {
  int64_t longest = 0;
  for (uint32_t i = 0; i < p.requests; i++) longest = p.tokens[i] > longest ? p.tokens[i] : longest;
  return static_cast<uint64_t>(longest) / record_tokens;
}

// Calls launch(table) for one stretch of the batch after another until one fails.
template <class Launch>
dev::Status for_each_request_table(const kvp_problem& problem, const Launch& launch) {
  Request next{};
  for (uint32_t first = 0; first < problem.requests; first += requests_per_launch) {
    RequestTable table{first, 0, {}};
    for (uint32_t i = first; i < problem.requests && table.count < requests_per_launch; i++) {
      next.tokens = static_cast<uint32_t>(problem.tokens[i]);
      next.kept_records =
          problem.kept == nullptr ? 0 : static_cast<uint32_t>(problem.kept[i] / record_tokens);
      table.row[table.count++] = next;
      next.first_token += next.tokens;
      next.first_page += next.records();
    }
    const dev::Status status = launch(table);
    if (!status.ok()) return status;
  }
  return dev::Status{};
}

// The most records that one request of the table has.
inline uint32_t records_max(const RequestTable& table) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < table.count; i++) {
    most = table.row[i].records() > most ? table.row[i].records() : most;
  }
  return most;
}

}  // namespace kvproof
