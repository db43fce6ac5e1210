// shape.h - one case as the stages see it: sizes, formats and tables on the device, and where a
// pair of a row and a token, or of a row and a block, lies in the arrays that hold one number for
// each.
//
// A row is one query head of one query token of one request, in the order of the output. A row sees
// the first `visible` tokens of its request (reference/cache.ts, oneQueryToken); a block is 128 of
// them. Arrays of pairs give every row of a request as many places as the request has tokens, or
// blocks, so that one prefix sum over the requests finds any of them.
#pragma once
#include "number.h"

namespace kvproof_reference {

constexpr int64_t record_tokens = 128;

struct Shape {
  int64_t requests, query_tokens, query_heads, kv_heads, head_size, ratio;
  int64_t bits, group, channel_group, channel_groups, token_groups;  // token_groups: of a record
  int64_t code_max, k_bytes, v_bytes, word_bytes;                    // of a record
  bool per_token, plain, bf16;
  double scale;  // what a kernel is given: binary32

  // Sums over the requests.
  int64_t rows, tokens_total, pairs, blocks, records;

  // On the device; (requests) or (requests + 1), exclusive prefix sums.
  const int64_t *tokens, *first_token, *first_pair, *first_block, *first_record, *shared;
  const int32_t* page_of;  // (records): the page of each record, request after request
};

struct Row {
  int64_t request, index;                                // index: among the rows of the request
  int64_t kv_head, tokens, visible, all_packed, packed;  // packed: of the visible tokens
};

TWIN_FN int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
TWIN_FN int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

TWIN_FN Row row_of(const Shape& s, int64_t row) {
  Row r;
  const int64_t own = s.query_tokens * s.query_heads;
  r.request = row / own;
  r.index = row % own;
  r.kv_head = r.index % s.query_heads / s.ratio;
  r.tokens = s.tokens[r.request];
  r.visible = larger(0, r.tokens - s.query_tokens + r.index / s.query_heads + 1);
  r.all_packed = s.plain ? 0 : r.tokens / record_tokens * record_tokens;
  r.packed = smaller(r.all_packed, r.visible);
  return r;
}

TWIN_FN int64_t blocks_of(int64_t tokens) { return (tokens + record_tokens - 1) / record_tokens; }

// The request that place i of an exclusive prefix sum over (requests + 1) belongs to.
TWIN_FN int64_t request_at(const Shape& s, const int64_t* first, int64_t i) {
  int64_t low = 0, high = s.requests - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (first[middle] <= i)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

// A row and a token or a block of it.
struct Place {
  int64_t row, at;
};

TWIN_FN Place pair_at(const Shape& s, int64_t i) {
  const int64_t request = request_at(s, s.first_pair, i);
  const int64_t own = i - s.first_pair[request], tokens = s.tokens[request];
  return {request * s.query_tokens * s.query_heads + own / tokens, own % tokens};
}

TWIN_FN Place block_at(const Shape& s, int64_t i) {
  const int64_t request = request_at(s, s.first_block, i);
  const int64_t own = i - s.first_block[request], blocks = blocks_of(s.tokens[request]);
  return {request * s.query_tokens * s.query_heads + own / blocks, own % blocks};
}

TWIN_FN int64_t first_pair(const Shape& s, const Row& r) {
  return s.first_pair[r.request] + r.index * r.tokens;
}

TWIN_FN int64_t first_block(const Shape& s, const Row& r) {
  return s.first_block[r.request] + r.index * blocks_of(r.tokens);
}

// Tokens of a block that its row sees.
TWIN_FN int64_t visible_in(const Row& r, int64_t block) {
  return larger(0, smaller(record_tokens, r.visible - block * record_tokens));
}

}  // namespace kvproof_reference
