// pack_test_case.h - for pack_test.cpp: cases of every format made from integers, and their buffers
// on the device, in every arrangement: pages, rows apart, tokens that come one a step.
#pragma once
#include <algorithm>

#include "kernels_test_run.h"
#include "problem_checks.h"

namespace kernels_test {

struct Pack {
  uint32_t bits = 4, group = 128, head_size = 128, kv_heads = 1;
  uint32_t k_axis = KVP_AXIS_CHANNEL, type = KVP_FP16;
  std::vector<int64_t> tokens;
  int64_t appended = 0;  // the last tokens of each request come one a step
  int64_t shared = 0;    // first records that every request has in common
  uint32_t padding = 0;  // elements between rows
  bool paged = false;
  bool special = false;  // NaN and Inf among the values
  uint64_t seed = 1;

  std::string name() const {
    char text[200];
    snprintf(text, sizeof text,
             "%u bits, group %u, head %u, %u KV heads, axis %u, type %u, appended %lld, shared "
             "%lld, padding %u, paged %d, tokens",
             bits, group, head_size, kv_heads, k_axis, type, static_cast<long long>(appended),
             static_cast<long long>(shared), padding, paged);
    std::string all = text;
    for (int64_t t : tokens) all += " " + std::to_string(t);
    return all;
  }
  int64_t shared_records(size_t r) const {
    const int64_t own = tokens[r] / 128, first = tokens[0] / 128;
    return r == 0 ? 0 : std::min(shared, std::min(own, first));
  }
};

inline float float_of(uint16_t word, uint32_t type) {
  if (type == KVP_FP16) return static_cast<float>(f64(word));
  const uint32_t bits = uint32_t{word} << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// Rounded to nearest even; the one NaN is 0x7fff.
inline uint16_t word_of(float value, uint32_t type) {
  if (value != value) return 0x7fff;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (type == KVP_BF16) return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  const auto half = static_cast<_Float16>(value);
  uint16_t word;
  memcpy(&word, &half, sizeof word);
  return word;
}

// Exponents between 2^-8 and 2^8, now and then anything, now and then a constant stretch.
inline Halves random_words(const Pack& c, uint64_t seed, size_t count) {
  check::Random random(seed);
  Halves x(count);
  for (size_t i = 0; i < count; i++) {
    const uint32_t r = random.bits();
    const uint16_t fraction = c.type == KVP_FP16 ? r & 1023 : r & 127;
    const int top = c.type == KVP_FP16 ? 10 : 7, bias = c.type == KVP_FP16 ? 15 : 127;
    const int most = c.type == KVP_FP16 ? 31 : 255;
    int exponent = bias - 8 + static_cast<int>(r >> 20 & 15);
    if (i / 300 % 7 == 3) exponent = static_cast<int>(r >> 20) % most;  // any finite value
    x[i] = static_cast<uint16_t>((r >> 31) << 15 | exponent << top | fraction);
    if (i / 400 % 11 == 5) x[i] = 0x3e00;
    if (i / 400 % 11 == 6) x[i] = static_cast<uint16_t>(r >> 31 << 15);
    if (c.special && r % 97 == 0) {
      x[i] = static_cast<uint16_t>(0x7fffu >> (r & 3) << (r & 3) | (r >> 16 & 0x8000));
      if (r % 2) x[i] = static_cast<uint16_t>(most << top | (r >> 16 & 0x8000));
    }
  }
  return x;
}

// Everything on the device, made once for each case.
struct Bench {
  const Pack& c;
  kvp_problem problem{};
  kvp_buffers buffers{};
  std::vector<int32_t> table;
  std::vector<int64_t> kept;
  Halves k, v;
  uint64_t cache_bytes = 0, window_elements = 0;

  explicit Bench(const Pack& pack) : c(pack) {
    kvproof_kernel()->memory->reset();
    int64_t total = 0;
    for (int64_t t : c.tokens) total += t;
    const size_t token = c.kv_heads * c.head_size;
    k = random_words(c, c.seed, static_cast<size_t>(total) * token);
    v = random_words(c, c.seed + 1000, k.size());
    size_t first = 0;
    for (size_t r = 0; r < c.tokens.size(); r++) {  // what is shared is equal
      const size_t n = static_cast<size_t>(c.shared_records(r)) * 128 * token;
      std::copy_n(k.begin(), n, k.begin() + static_cast<long>(first * token));
      std::copy_n(v.begin(), n, v.begin() + static_cast<long>(first * token));
      first += static_cast<size_t>(c.tokens[r]);
    }
    make_problem();
    buffers.k = spread(k);
    buffers.v = spread(v);
    buffers.page_table = upload(table, "page_table");
  }

  void make_problem() {
    problem.struct_bytes = sizeof problem;
    problem.requests = static_cast<uint32_t>(c.tokens.size());
    problem.query_heads = problem.kv_heads = c.kv_heads;
    problem.head_size = c.head_size;
    problem.bits = c.bits;
    problem.group = c.group;
    problem.k_axis = c.k_axis;
    problem.softmax_scale = 1;
    problem.format = c.bits == 16 ? "fp16" : "bitdecoding";
    problem.tokens = c.tokens.data();
    problem.query_tokens = 1;
    problem.type = c.type;
    if (c.padding > 0) {
      problem.k_head_stride = problem.v_head_stride = c.head_size + c.padding;
      problem.k_token_stride = problem.v_token_stride = c.kv_heads * (c.head_size + c.padding);
    }
    if (c.paged) make_pages();
    const kvproof::RecordSizes record =
        kvproof::record_sizes(c.bits, c.group, c.head_size, c.k_axis);
    cache_bytes = kvproof::pages_of(problem) * c.kv_heads * record.bytes();
    window_elements = c.tokens.size() * 128 * c.kv_heads * c.head_size;
  }

  // Pages from the last to the first, with one to spare at either end.
  void make_pages() {
    problem.page_table_stride = 1;
    int32_t pages = 2;
    for (size_t r = 0; r < c.tokens.size(); r++) {
      problem.page_table_stride =
          std::max(problem.page_table_stride, static_cast<uint32_t>(c.tokens[r] / 128) + 1);
      pages += static_cast<int32_t>(c.tokens[r] / 128 - c.shared_records(r));
    }
    problem.pool_pages = static_cast<uint32_t>(pages);
    table.assign(c.tokens.size() * problem.page_table_stride, 0x7fffffff);
    int32_t next = pages - 2;
    for (size_t r = 0; r < c.tokens.size(); r++) {
      kept.push_back(c.shared_records(r) * 128);
      for (size_t i = 0; i < static_cast<size_t>(c.tokens[r] / 128); i++) {
        const bool shares = static_cast<int64_t>(i) < c.shared_records(r);
        table[r * problem.page_table_stride + i] = shares ? table[i] : next--;
      }
    }
    problem.kept = kept.data();
  }

  // Rows apart, 0xff between them.
  const uint16_t* spread(const Halves& x) const {
    const size_t row = c.head_size + c.padding, rows = x.size() / c.head_size;
    Halves all(rows * row, 0xffff);
    for (size_t i = 0; i < rows; i++) {
      std::copy_n(x.begin() + static_cast<long>(i * c.head_size), c.head_size,
                  all.begin() + static_cast<long>(i * row));
    }
    return upload(all, "rows");
  }

  // A cache and windows of 0xff.
  void fresh() {
    buffers.cache = upload(std::vector<uint8_t>(cache_bytes, 0xff), "cache");
    buffers.k_residual = upload(Halves(window_elements, 0xffff), "k_residual");
    buffers.v_residual = upload(Halves(window_elements, 0xffff), "v_residual");
  }
  std::vector<uint8_t> cache() const {
    std::vector<uint8_t> bytes(cache_bytes);
    download(bytes, buffers.cache);
    return bytes;
  }
  Halves window(const uint16_t* device) const {
    Halves words(window_elements);
    download(words, device);
    return words;
  }

  // All tokens but the appended ones at once, then those.
  dev::Status append_all() {
    std::vector<int64_t> lengths = c.tokens, now = kept;
    int64_t steps = 0;
    for (int64_t& t : lengths) {
      steps = std::max(steps, std::min(c.appended, t));
      t -= std::min(c.appended, t);
    }
    const auto clamp_kept = [&] {
      for (size_t r = 0; r < now.size(); r++) now[r] = std::min(kept[r], lengths[r] / 128 * 128);
    };
    const std::vector<int64_t> start = lengths;
    kvp_problem p = problem;
    kvp_buffers b = buffers;
    p.tokens = lengths.data();
    p.kept = now.data();
    clamp_kept();
    Halves first_k, first_v;
    gather(start, 0, -1, first_k, first_v);
    b.k = spread(first_k);
    b.v = spread(first_v);
    dev::Status status = kvproof::launch_quantize(p, b, false, nullptr);
    for (int64_t step = 0; step < steps && status.ok(); step++) {
      for (size_t r = 0; r < lengths.size(); r++) {
        lengths[r] = start[r] + step < c.tokens[r] ? start[r] + step + 1 : 0;
      }
      clamp_kept();
      Halves new_k, new_v;
      gather(start, step, 1, new_k, new_v);
      b.k = spread(new_k);
      b.v = spread(new_v);
      status = kvproof::launch_quantize(p, b, true, nullptr);
    }
    return status;
  }

  // count < 0: the first start[r] tokens of each request; else token start[r] + step, 0xffff where
  // a request has none.
  void gather(const std::vector<int64_t>& start, int64_t step, int count, Halves& some_k,
              Halves& some_v) const {
    const size_t token = c.kv_heads * c.head_size;
    size_t first = 0;
    for (size_t r = 0; r < start.size(); r++) {
      const size_t from = first + (count < 0 ? 0 : static_cast<size_t>(start[r] + step));
      const size_t n = count < 0 ? static_cast<size_t>(start[r]) : 1;
      const bool has = count < 0 || start[r] + step < c.tokens[r];
      for (size_t i = 0; i < n * token; i++) {
        some_k.push_back(has ? k[from * token + i] : 0xffff);
        some_v.push_back(has ? v[from * token + i] : 0xffff);
      }
      first += static_cast<size_t>(c.tokens[r]);
    }
  }
};

}  // namespace kernels_test
