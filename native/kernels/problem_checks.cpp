// problem_checks.cpp - the checks that problem_checks.h lists; each failure is one sentence.
#include "problem_checks.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <numeric>

#include "decode_arguments.h"
#include "platform.h"

namespace kvproof {

constexpr uint32_t heads_per_kv_max = 64;
constexpr uint32_t kv_heads_max = 4096;  // times 8 query tiles fits the 65,535 of grid.y
constexpr uint32_t requests_max = 1u << 20;
constexpr uint32_t splits_max = 4096;
constexpr int64_t tokens_max = 1 << 24;
constexpr uint64_t pages_max = 0x7fffffff;
constexpr uint64_t stride_max = 1ull << 40;  // no product of two limits overflows
constexpr float softmax_scale_max = 32768.0f;

// Ends the function that calls it, with a sentence.
#define FAIL_IF(condition, ...) \
  if (condition) return err.fail(__VA_ARGS__)

kvp_status ErrorSink::fail(kvp_status status, const char* format, ...) const {
  if (text == nullptr || bytes == 0) return status;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, bytes, format, arguments);
  va_end(arguments);
  return status;
}

static kvp_status check_codes(const kvp_problem& p, const ErrorSink& err) {
  FAIL_IF(p.bits != 2 && p.bits != 4 && p.bits != 8, KVP_UNSUPPORTED,
          "problem.bits: %u is not 2, 4 or 8", p.bits);
  FAIL_IF(p.k_axis != KVP_AXIS_CHANNEL && p.k_axis != KVP_AXIS_TOKEN, KVP_INVALID,
          "problem.k_axis: %u is not 0 (channel) or 1 (token)", p.k_axis);
  const bool whole_head = p.k_axis == KVP_AXIS_TOKEN && p.group == p.head_size;
  FAIL_IF(p.group != 128 && p.group != 64 && p.group != 32 && !whole_head, KVP_UNSUPPORTED,
          "problem.group: %u is not 128, 64 or 32%s", p.group,
          p.k_axis == KVP_AXIS_TOKEN ? ", or problem.head_size" : "");
  return KVP_OK;
}

static kvp_status check_scheme(const kvp_problem& p, const ErrorSink& err) {
  FAIL_IF(p.head_size != 64 && p.head_size != 128 && p.head_size != 256, KVP_UNSUPPORTED,
          "problem.head_size: %u is not 64, 128 or 256", p.head_size);
  FAIL_IF(p.format == nullptr, KVP_INVALID, "problem.format: null");
  if (strcmp(p.format, "bitdecoding") == 0) return check_codes(p, err);
  FAIL_IF(strcmp(p.format, "fp16") != 0, KVP_UNSUPPORTED,
          "problem.format: \"%.60s\" is not \"bitdecoding\" or \"fp16\"", p.format);
  FAIL_IF(p.bits != 16, KVP_INVALID, "problem.bits: %u is not 16, as format \"fp16\" requires",
          p.bits);
  // Without parameters neither means anything; one spelling of a scheme is enough.
  FAIL_IF(p.group != 128, KVP_INVALID, "problem.group: %u is not 128, as format \"fp16\" requires",
          p.group);
  FAIL_IF(p.k_axis != KVP_AXIS_CHANNEL, KVP_INVALID,
          "problem.k_axis: %u is not 0 (channel), as format \"fp16\" requires", p.k_axis);
  return KVP_OK;
}

static kvp_status check_options(const kvp_problem& p, const ErrorSink& err) {
  FAIL_IF(!isfinite(p.softmax_scale), KVP_INVALID, "problem.softmax_scale: %g is not finite",
          p.softmax_scale);
  FAIL_IF(fabsf(p.softmax_scale) > softmax_scale_max, KVP_UNSUPPORTED,
          "problem.softmax_scale: %g is beyond %g", p.softmax_scale, softmax_scale_max);
  FAIL_IF(p.splits > splits_max, KVP_UNSUPPORTED, "problem.splits: %u, at most %u", p.splits,
          splits_max);
  FAIL_IF(p.type != KVP_FP16 && p.type != KVP_BF16, KVP_INVALID,
          "problem.type: %u is not 0 (fp16) or 1 (bf16)", p.type);
  FAIL_IF(p.query_tokens == 0, KVP_INVALID, "problem.query_tokens: 0, at least 1 is required");
  FAIL_IF(p.query_tokens > query_tokens_max, KVP_UNSUPPORTED,
          "problem.query_tokens: %u, at most %u", p.query_tokens, query_tokens_max);
  return KVP_OK;
}

static kvp_status check_heads(const kvp_problem& p, const ErrorSink& err) {
  FAIL_IF(p.kv_heads == 0, KVP_INVALID, "problem.kv_heads: 0, at least 1 is required");
  FAIL_IF(p.query_heads == 0 || p.query_heads % p.kv_heads != 0, KVP_INVALID,
          "problem.query_heads: %u is not a multiple of problem.kv_heads %u", p.query_heads,
          p.kv_heads);
  FAIL_IF(p.query_heads / p.kv_heads > heads_per_kv_max, KVP_UNSUPPORTED,
          "problem.query_heads: %u for each KV head, at most %u", p.query_heads / p.kv_heads,
          heads_per_kv_max);
  FAIL_IF(p.kv_heads > kv_heads_max, KVP_UNSUPPORTED, "problem.kv_heads: %u, at most %u",
          p.kv_heads, kv_heads_max);
  return KVP_OK;
}

static kvp_status check_requests(const kvp_problem& p, const ErrorSink& err) {
  FAIL_IF(p.requests == 0, KVP_INVALID, "problem.requests: 0, at least 1 is required");
  FAIL_IF(p.requests > requests_max, KVP_UNSUPPORTED, "problem.requests: %u, at most %u",
          p.requests, requests_max);
  FAIL_IF(p.tokens == nullptr, KVP_INVALID, "problem.tokens: null");
  for (uint32_t i = 0; i < p.requests; i++) {
    const int64_t tokens = p.tokens[i];
    FAIL_IF(tokens < 0, KVP_INVALID, "problem.tokens[%u]: %" PRId64 " is negative", i, tokens);
    FAIL_IF(tokens > tokens_max, KVP_UNSUPPORTED,
            "problem.tokens[%u]: %" PRId64 ", at most %" PRId64, i, tokens, tokens_max);
  }
  FAIL_IF(pages_of(p) > pages_max, KVP_UNSUPPORTED,
          "problem.tokens: %" PRIu64 " records in all, at most %" PRIu64, pages_of(p), pages_max);
  return KVP_OK;
}

static kvp_status check_pages(const kvp_problem& p, const ErrorSink& err) {
  const auto longest = static_cast<unsigned>(longest_records(p));
  FAIL_IF(p.page_table_stride == 0 && p.pool_pages != 0, KVP_INVALID,
          "problem.pool_pages: %u without a page table, 0 is required", p.pool_pages);
  FAIL_IF(p.page_table_stride == 0 && p.kept != nullptr, KVP_INVALID,
          "problem.kept: kept tokens without a page table");
  if (p.page_table_stride == 0) return KVP_OK;
  FAIL_IF(p.page_table_stride < longest, KVP_INVALID,
          "problem.page_table_stride: %u, the longest request has %u records", p.page_table_stride,
          longest);
  FAIL_IF(longest > 0 && p.pool_pages == 0, KVP_INVALID,
          "problem.pool_pages: 0, at least 1 is required");
  for (uint32_t i = 0; i < p.requests && p.kept != nullptr; i++) {
    const int64_t kept = p.kept[i];
    if (kept >= 0 && kept <= p.tokens[i] && kept % record_tokens == 0) continue;
    return err.fail(KVP_INVALID,
                    "problem.kept[%u]: %" PRId64
                    " is not a multiple of %d from 0 to problem.tokens %" PRId64,
                    i, kept, record_tokens, p.tokens[i]);
  }
  return KVP_OK;
}

// Rows of (rows, heads, head_size) must not overlap, whichever of the two axes is the outer one.
static kvp_status check_strides(const char* name, uint64_t token, uint64_t head, uint64_t rows,
                                uint64_t heads, const kvp_problem& p, const ErrorSink& err) {
  FAIL_IF(token % 8 != 0 || token > stride_max, KVP_INVALID,
          "problem.%s_token_stride: %" PRIu64 " is not a multiple of 8 up to 2^40", name, token);
  FAIL_IF(head % 8 != 0 || head > stride_max, KVP_INVALID,
          "problem.%s_head_stride: %" PRIu64 " is not a multiple of 8 up to 2^40", name, head);
  const Strides s = strides_of(token, head, heads, p.head_size);
  const uint64_t of_heads = (heads - 1) * s.head + p.head_size;
  const uint64_t of_rows = (rows == 0 ? 0 : rows - 1) * s.token + p.head_size;
  const bool heads_inside =
      (heads == 1 || s.head >= p.head_size) && (rows <= 1 || s.token >= of_heads);
  const bool rows_inside =
      (rows <= 1 || s.token >= p.head_size) && (heads == 1 || s.head >= of_rows);
  FAIL_IF(!heads_inside && !rows_inside, KVP_INVALID,
          "problem.%s_token_stride: rows of %u overlap with strides of %" PRIu64 " and %" PRIu64,
          name, p.head_size, s.token, s.head);
  return KVP_OK;
}

kvp_status check_problem(const kvp_problem* problem, const ErrorSink& err) {
  FAIL_IF(problem == nullptr, KVP_INVALID, "problem: null");
  FAIL_IF(problem->struct_bytes != sizeof(kvp_problem), KVP_INVALID,
          "problem.struct_bytes: %u, this library was built for %zu", problem->struct_bytes,
          sizeof(kvp_problem));
  const kvp_problem& p = *problem;
  kvp_status status = check_scheme(p, err);
  if (status == KVP_OK) status = check_options(p, err);
  if (status == KVP_OK) status = check_heads(p, err);
  if (status == KVP_OK) status = check_requests(p, err);
  if (status == KVP_OK) status = check_pages(p, err);
  if (status != KVP_OK) return status;
  const uint64_t queries = uint64_t{p.requests} * p.query_tokens, tokens = total_tokens(p);
  status = check_strides("q", p.q_token_stride, p.q_head_stride, queries, p.query_heads, p, err);
  if (status != KVP_OK) return status;
  status = check_strides("k", p.k_token_stride, p.k_head_stride, tokens, p.kv_heads, p, err);
  return status != KVP_OK
             ? status
             : check_strides("v", p.v_token_stride, p.v_head_stride, tokens, p.kv_heads, p, err);
}

uint64_t pages_of(const kvp_problem& p) {
  return p.page_table_stride == 0 ? records_of(p) : p.pool_pages;
}

uint64_t total_tokens(const kvp_problem& p) {
  return std::accumulate(p.tokens, p.tokens + p.requests, uint64_t{0});
}

bool any_tail(const kvp_problem& p) {
  return std::any_of(p.tokens, p.tokens + p.requests, [](int64_t t) { return t % record_tokens; });
}

// A buffer that is used must be there, and aligned for 16-byte copies.
static kvp_status check_buffer(const UsedBuffer& b, const ErrorSink& err) {
  FAIL_IF(b.address == nullptr, KVP_INVALID, "buffers.%s: null", b.name);
  FAIL_IF(reinterpret_cast<uintptr_t>(b.address) % b.alignment != 0, KVP_INVALID,
          "buffers.%s: address %p is not a multiple of %u", b.name, b.address, b.alignment);
  const char* error = platform_address_error(b.address, b.bytes);
  if (error == nullptr) return KVP_OK;
  return err.fail(KVP_INVALID, "buffers.%s: %" PRIu64 " bytes at %p %s", b.name, b.bytes, b.address,
                  error);
}

static bool overlap(const UsedBuffer& a, const UsedBuffer& b) {
  const auto first = reinterpret_cast<uintptr_t>(a.address);
  const auto second = reinterpret_cast<uintptr_t>(b.address);
  return first < second + b.bytes && second < first + a.bytes;
}

kvp_status check_buffers(const std::vector<UsedBuffer>& buffers, const ErrorSink& err) {
  for (const UsedBuffer& b : buffers) {
    const kvp_status status = b.bytes == 0 ? KVP_OK : check_buffer(b, err);
    if (status != KVP_OK) return status;
  }
  for (const UsedBuffer& a : buffers) {
    for (const UsedBuffer& b : buffers) {
      FAIL_IF(&a != &b && a.is_written && a.bytes > 0 && b.bytes > 0 && overlap(a, b), KVP_INVALID,
              "buffers.%s: overlaps buffers.%s, which the call uses too", a.name, b.name);
    }
  }
  return KVP_OK;
}

uint64_t tensor_bytes(uint64_t rows, uint64_t heads, uint64_t head_size, uint64_t token_stride,
                      uint64_t head_stride) {
  if (rows == 0) return 0;
  const Strides s = strides_of(token_stride, head_stride, heads, head_size);
  return ((rows - 1) * s.token + (heads - 1) * s.head + head_size) * sizeof(uint16_t);
}

}  // namespace kvproof
