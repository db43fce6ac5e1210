// job.h - one case of a batch: its sizes, its tables, and its buffers on the device.
#pragma once
#include "bound.h"
#include "laws.h"

namespace kvproof_reference {

// What the kernel writes in one run.
struct Run {
  Guarded cache, k_window, v_window, workspace, output, lse;
};

// One case of a batch: everything that lies on the device.
struct Job {
  const kvp_problem* problem;
  const kvp_twin_case* asked;
  kvp_sizes sizes;
  Shape shape;
  const int64_t* used;  // (pages)
  uint16_t *q, *k, *v;  // dense
  const uint8_t* table_words;
  Guarded q_rows, k_rows, v_rows, table;
  Run runs[2];
  Bound bound;
  Counters* counters;
};

template <typename Call>
inline void call(const char* name, const Call& body) {
  char text[512] = {};
  const kvp_status status = body(text, sizeof text - 1);
  if (status != KVP_OK)
    throw Failure{status, text[0] == '\0' ? std::string(name) + " failed" : text};
}

inline int64_t group_of(const kvp_problem& p) {
  return p.group < p.head_size ? p.group : p.head_size;
}

// Distance between heads and between tokens of an input, in elements; dense where it is not given.
struct Strides {
  int64_t head, token;
};
inline Strides strides_of(uint64_t head, uint64_t token, const kvp_problem& p, uint32_t heads) {
  const int64_t row = head == 0 ? p.head_size : static_cast<int64_t>(head);
  return {row, token == 0 ? heads * row : static_cast<int64_t>(token)};
}
inline Strides query_strides(const kvp_problem& p) {
  return strides_of(p.q_head_stride, p.q_token_stride, p, p.query_heads);
}
inline Strides key_strides(const kvp_problem& p) {
  return strides_of(p.k_head_stride, p.k_token_stride, p, p.kv_heads);
}
inline Strides value_strides(const kvp_problem& p) {
  return strides_of(p.v_head_stride, p.v_token_stride, p, p.kv_heads);
}

inline Shape sizes_of(const kvp_problem& p) {
  Shape s{};
  s.requests = p.requests;
  s.query_tokens = p.query_tokens;
  s.query_heads = p.query_heads;
  s.kv_heads = p.kv_heads;
  s.head_size = p.head_size;
  s.ratio = p.query_heads / p.kv_heads;
  s.bits = p.bits;
  s.plain = p.bits == 16;
  s.per_token = p.k_axis == KVP_AXIS_TOKEN;
  s.bf16 = p.type == KVP_BF16;
  s.group = s.plain ? record_tokens : p.group;
  s.channel_group = s.plain ? s.head_size : group_of(p);
  s.channel_groups = s.head_size / s.channel_group;
  s.token_groups = s.per_token ? 1 : record_tokens / s.group;
  s.code_max = (int64_t{1} << p.bits) - 1;
  s.word_bytes = record_tokens * s.head_size * s.bits / 8;
  const int64_t by_token = 4 * record_tokens * s.channel_groups;
  const int64_t by_channel = 4 * s.head_size * s.token_groups;
  s.k_bytes = s.word_bytes + (s.plain ? 0 : s.per_token ? by_token : by_channel);
  s.v_bytes = s.word_bytes + (s.plain ? 0 : by_token);
  s.scale = static_cast<double>(p.softmax_scale);
  s.rows = s.requests * s.query_tokens * s.query_heads;
  return s;
}

// Tables of a case, built on the host and copied in one piece.
struct Tables {
  std::vector<int64_t> tokens, first_token{0}, first_pair{0}, first_block{0}, first_record{0},
      shared;
  std::vector<int64_t> used;
  std::vector<int32_t> page_of;
};

inline Tables tables_of(const kvp_problem& p, const Shape& s, const int32_t* table,
                        uint64_t pages) {
  Tables t;
  const int64_t rows = s.query_tokens * s.query_heads;
  t.used.assign(pages, 0);
  for (uint32_t r = 0; r < p.requests; r++) {
    const int64_t tokens = p.tokens[r], records = tokens / record_tokens;
    const int64_t first = t.first_record.back();
    t.tokens.push_back(tokens);
    t.shared.push_back(p.kept == nullptr ? 0 : p.kept[r]);
    t.first_token.push_back(t.first_token.back() + tokens);
    t.first_pair.push_back(t.first_pair.back() + rows * tokens);
    t.first_block.push_back(t.first_block.back() +
                            rows * ((tokens + record_tokens - 1) / record_tokens));
    t.first_record.push_back(first + records);
    for (int64_t i = 0; i < records; i++) {
      const int64_t page = table == nullptr ? first + i : table[r * p.page_table_stride + i];
      if (page < 0 || static_cast<uint64_t>(page) >= pages) {
        throw Failure{KVP_INVALID, "page_table: names a page that the pool does not have"};
      }
      t.page_of.push_back(static_cast<int32_t>(page));
      t.used[static_cast<size_t>(page)] = 1;
    }
  }
  return t;
}

template <typename T>
inline const T* uploaded(Memory* memory, Stream stream, const std::vector<T>& values) {
  T* at = memory->array<T>(static_cast<int64_t>(values.size()) + 1);
  upload(stream, at, values.data(), values.size() * sizeof(T));
  return at;
}

inline void place_tables(Memory* memory, Stream stream, Job* job) {
  const kvp_problem& p = *job->problem;
  Shape& s = job->shape;
  const Tables t = tables_of(p, s, job->asked->page_table, job->sizes.pages);
  std::vector<int64_t> all;
  const auto add = [&all](const std::vector<int64_t>& part) {
    const size_t at = all.size();
    all.insert(all.end(), part.begin(), part.end());
    return at;
  };
  const size_t places[] = {add(t.tokens),      add(t.first_token),  add(t.first_pair),
                           add(t.first_block), add(t.first_record), add(t.shared),
                           add(t.used)};
  const int64_t* base = uploaded(memory, stream, all);
  s.tokens = base + places[0];
  s.first_token = base + places[1];
  s.first_pair = base + places[2];
  s.first_block = base + places[3];
  s.first_record = base + places[4];
  s.shared = base + places[5];
  job->used = base + places[6];
  s.page_of = uploaded(memory, stream, t.page_of);
  s.tokens_total = t.first_token.back();
  s.pairs = t.first_pair.back();
  s.blocks = t.first_block.back();
  s.records = t.first_record.back();
  const std::vector<int32_t> entries(
      job->asked->page_table, job->asked->page_table + size_t{p.requests} * p.page_table_stride);
  job->table_words = reinterpret_cast<const uint8_t*>(uploaded(memory, stream, entries));
}

inline void take_buffers(Memory* memory, Job* job) {
  const Shape& s = job->shape;
  const kvp_problem& p = *job->problem;
  const int64_t kv = s.tokens_total * s.kv_heads;
  job->q = memory->array<uint16_t>(s.rows * s.head_size);
  job->k = memory->array<uint16_t>(kv * s.head_size);
  job->v = memory->array<uint16_t>(kv * s.head_size);
  job->q_rows = guarded(memory, 2 * s.requests * s.query_tokens * query_strides(p).token);
  job->k_rows = guarded(memory, 2 * s.tokens_total * key_strides(p).token);
  job->v_rows = guarded(memory, 2 * s.tokens_total * value_strides(p).token);
  job->table = guarded(memory, int64_t{4} * p.requests * p.page_table_stride);
  for (Run& run : job->runs) {
    run.cache = guarded(memory, static_cast<int64_t>(job->sizes.cache_bytes));
    run.k_window = guarded(memory, static_cast<int64_t>(job->sizes.residual_bytes));
    run.v_window = guarded(memory, static_cast<int64_t>(job->sizes.residual_bytes));
    run.workspace = guarded(memory, static_cast<int64_t>(job->sizes.workspace_bytes));
    run.output = guarded(memory, 2 * s.rows * s.head_size);
    run.lse = guarded(memory, 4 * s.rows);
  }
}

}  // namespace kvproof_reference
