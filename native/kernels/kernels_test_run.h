// kernels_test_run.h - for kernels_test.cpp: cases made from integers, and one run of them through
// the kernel table, with every output poisoned before.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "../mma/check.h"
#include "decode_arguments.h"

namespace kernels_test {

using Halves = std::vector<uint16_t>;

constexpr uint32_t spare_pages = 3;

inline double f64(uint16_t half, bool is_bf16 = false) {
  if (is_bf16) return __builtin_bit_cast(float, static_cast<uint32_t>(half) << 16);
  const int field = half >> 10 & 31, fraction = half & 1023;
  const double magnitude = field == 31  ? (fraction ? NAN : INFINITY)
                           : field == 0 ? ldexp(fraction, -24)
                                        : ldexp(1024 + fraction, field - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

// What the values look like. Every one is finite fp16.
enum class Values { ordinary, huge, subnormal, constant, zero, outlier, wide };

struct Case {
  uint32_t bits = 4, group = 128, head_size = 128;
  kvp_axis k_axis = KVP_AXIS_CHANNEL;
  kvp_type type = KVP_FP16;
  uint32_t query_tokens = 1;
  bool paged = false;    // pages in any order, behind a table, among spare ones
  uint32_t padding = 0;  // elements between the rows of q
  uint32_t query_heads = 1, kv_heads = 1;
  std::vector<int64_t> tokens;
  uint32_t splits = 0;
  float softmax_scale = 0.08838835f;  // 1 / sqrt(128)
  Values q = Values::ordinary, k = Values::ordinary, v = Values::ordinary;
  uint64_t seed = 1;

  kvp_problem problem() const {
    kvp_problem p{};
    p.struct_bytes = sizeof p;
    p.requests = static_cast<uint32_t>(tokens.size());
    p.query_heads = query_heads;
    p.kv_heads = kv_heads;
    p.head_size = head_size;
    p.bits = bits;
    p.group = group;
    p.k_axis = k_axis;
    p.splits = splits;
    p.softmax_scale = softmax_scale;
    p.format = bits == 16 ? "fp16" : "bitdecoding";
    p.tokens = tokens.data();
    p.query_tokens = query_tokens;
    p.type = type;
    if (paged) {
      p.page_table_stride = page_table_stride();
      p.pool_pages = pages() + spare_pages;
    }
    if (padding > 0) {
      p.q_head_stride = head_size + padding;
      p.q_token_stride = p.q_head_stride * query_heads;
    }
    return p;
  }
  bool is_bf16() const { return type == KVP_BF16; }
  uint32_t query_rows() const {
    return static_cast<uint32_t>(tokens.size()) * query_tokens * query_heads;
  }
  kvproof::RecordSizes record() const {
    return kvproof::record_sizes(bits, group, head_size, k_axis);
  }
  uint32_t pages() const {
    uint32_t all = 0;
    for (int64_t t : tokens) all += static_cast<uint32_t>(t / 128);
    return all;
  }
  uint32_t page_table_stride() const {
    int64_t most = 1;
    for (int64_t t : tokens) most = std::max(most, t / 128);
    return static_cast<uint32_t>(most);
  }
  // Page of the i-th record of the batch.
  uint32_t page_of(uint32_t i) const { return paged ? pages() + spare_pages - 1 - i : i; }
  int64_t all_tokens() const {
    int64_t sum = 0;
    for (int64_t t : tokens) sum += t;
    return sum;
  }
  std::string name() const {
    char text[240];
    snprintf(
        text, sizeof text,
        "%u bits, group %u, K per %s, %s, head size %u, query tokens %u, heads %u/%u, splits %u, "
        "%svalues %d %d %d, tokens",
        bits, group, k_axis == KVP_AXIS_CHANNEL ? "channel" : "token", is_bf16() ? "bf16" : "fp16",
        head_size, query_tokens, query_heads, kv_heads, splits, paged ? "paged, " : "",
        static_cast<int>(q), static_cast<int>(k), static_cast<int>(v));
    std::string all = text;
    for (int64_t t : tokens) all += " " + std::to_string(t);
    return all;
  }
};

// One value of element i: channel i % 128. bf16 has only ordinary ones.
inline uint16_t value_of(Values values, check::Random& random, size_t i, bool is_bf16) {
  const uint32_t r = random.bits(), sign = r & 0x8000;
  if (is_bf16) return static_cast<uint16_t>(sign | (121 + (r >> 16 & 7)) << 7 | (r & 127));
  switch (values) {
    case Values::ordinary:  // |x| in [2^-6, 4), uniform exponents
      return static_cast<uint16_t>(sign | (9 + (r >> 16 & 7)) << 10 | (r & 1023));
    case Values::huge:  // 32,768 to 65,504
      return static_cast<uint16_t>(sign | 30 << 10 | (r & 1023));
    case Values::subnormal:
      return static_cast<uint16_t>(sign | (r & 1023));
    case Values::constant:
      return 0x3e00;
    case Values::zero:
      return static_cast<uint16_t>(sign);
    case Values::outlier:  // three channels a thousand times as large
      return static_cast<uint16_t>(sign | ((i % 128 % 50 == 7 ? 22 : 12) << 10) | (r & 1023));
    case Values::wide:  // any finite pattern
      return static_cast<uint16_t>(sign | (r >> 16) % 31 << 10 | (r & 1023));
  }
  return 0;
}

inline Halves values_of(Values values, uint64_t seed, size_t count, bool is_bf16) {
  check::Random random(seed);
  Halves x(count);
  for (size_t i = 0; i < count; i++) x[i] = value_of(values, random, i, is_bf16);
  return x;
}

struct Outcome {
  kvp_status status = KVP_OK;
  std::string error;
  std::vector<uint8_t> cache, cache_plain;
  Halves k_residual, v_residual, output, output_plain;
  std::vector<float> lse, lse_plain;
  uint32_t reports = 0;
};

struct Inputs {
  Halves q, k, v;
  explicit Inputs(const Case& c)
      : q(values_of(c.q, c.seed, c.query_rows() * c.head_size, c.is_bf16())),
        k(values_of(c.k, c.seed + 1000, row_elements(c), c.is_bf16())),
        v(values_of(c.v, c.seed + 2000, row_elements(c), c.is_bf16())) {}
  // q with what lies between its rows, NaN.
  Halves strided_q(const Case& c) const {
    const size_t stride = c.head_size + c.padding;
    Halves all(c.query_rows() * stride, 0xffff);
    for (size_t i = 0; i < q.size(); i++) {
      all[i / c.head_size * stride + i % c.head_size] = q[i];
    }
    return all;
  }

 private:
  static size_t row_elements(const Case& c) {
    return static_cast<size_t>(c.all_tokens()) * c.kv_heads * c.head_size;
  }
};

template <class T>
T* upload(const std::vector<T>& host, const char* name) {
  const kvp_memory& memory = *kvproof_kernel()->memory;
  char err[256];
  void* device = memory.allocate(host.size() * sizeof(T), name, err, sizeof err);
  if (device != nullptr)
    memory.write(device, host.data(), host.size() * sizeof(T), err, sizeof err);
  return static_cast<T*>(device);
}

template <class T>
void download(std::vector<T>& host, const T* device) {
  char err[256];
  kvproof_kernel()->memory->read(host.data(), device, host.size() * sizeof(T), err, sizeof err);
}

// FNV-1a over what the kernels wrote, to compare a GPU with the emulator by eye.
struct BitHash {
  uint64_t value = 0xcbf29ce484222325u;
  template <class T>
  void add(const std::vector<T>& x) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(x.data());
    for (size_t i = 0; i < x.size() * sizeof(T); i++) value = (value ^ bytes[i]) * 0x100000001b3u;
  }
};

struct Machine {
  uint32_t sm = 90;
  const char* policy = "round-robin";
  const char* copies = "eager";
  uint64_t seed = 1;
};

// Quantises and decodes; with `plain`, the plain versions too. Outputs, workspace and residual
// windows hold 0xff before (NaN as fp16 and as f32), the windows also where nothing belongs.
inline Outcome run(const Case& c, const Inputs& in, const Machine& machine, bool plain) {
  const kvp_kernel& kernel = *kvproof_kernel();
  Outcome out;
  char err[512] = "";
  const auto failed = [&](kvp_status status) {
    out.status = status;
    out.error = err;
    return status != KVP_OK;
  };
  const kvp_schedule schedule{sizeof schedule, machine.seed, machine.policy, machine.copies, 0,
                              machine.sm};
  kernel.memory->reset();
  if (kernel.emulator != nullptr &&
      failed(kernel.emulator->configure(&schedule, err, sizeof err))) {
    return out;
  }
  const kvp_problem problem = c.problem();
  kvp_sizes size{};
  if (failed(kernel.sizes(&problem, &size, err, sizeof err))) return out;
  out.cache.assign(size.cache_bytes, 0xff);
  out.k_residual.assign(size.residual_bytes / 2, 0xffff);
  out.v_residual = out.k_residual;
  out.output.assign(in.q.size(), 0xffff);
  out.lse.assign(in.q.size() / c.head_size, NAN);
  const std::vector<uint8_t> scratch(size.workspace_bytes, 0xff);
  kvp_buffers b{};
  b.q = upload(in.q, "q");
  b.k = upload(in.k, "k");
  b.v = upload(in.v, "v");
  b.cache = upload(out.cache, "cache");
  b.k_residual = upload(out.k_residual, "k_residual");
  b.v_residual = upload(out.v_residual, "v_residual");
  b.workspace = upload(scratch, "workspace");
  b.output = upload(out.output, "output");
  b.lse = upload(out.lse, "lse");
  if (failed(kernel.quantize(&problem, &b, nullptr, err, sizeof err))) return out;
  if (kernel.emulator == nullptr && machine.sm < 90) {  // a newer GPU runs the older ring, too
    const dev::Status launched =
        kvproof::launch_decode(problem, b, size.splits, machine.sm, nullptr);
    snprintf(err, sizeof err, "%s", launched.text);
    if (failed(launched.code)) return out;
  } else if (failed(kernel.decode(&problem, &b, nullptr, err, sizeof err))) {
    return out;
  }
  if (failed(kernel.memory->synchronize(nullptr, err, sizeof err))) return out;
  download(out.cache, b.cache);
  download(out.k_residual, b.k_residual);
  download(out.v_residual, b.v_residual);
  download(out.output, b.output);
  download(out.lse, b.lse);
  if (plain) {
    out.cache_plain.assign(size.cache_bytes, 0xff);
    out.output_plain = out.output;
    out.lse_plain = out.lse;
    kvp_buffers p = b;
    p.cache = upload(out.cache_plain, "cache_plain");
    if (failed(kvproof::launch_quantize_plain(problem, p, nullptr).code)) return out;
    if (failed(kvproof::launch_decode_plain(problem, p, nullptr).code)) return out;
    kernel.memory->synchronize(nullptr, err, sizeof err);
    download(out.cache_plain, p.cache);
    download(out.output_plain, p.output);
    download(out.lse_plain, p.lse);
  }
  if (kernel.emulator != nullptr) out.reports = kernel.emulator->report_count();
  return out;
}

// The main function of a test: opens the device, says which it is, runs everything.
inline int run_tests(std::initializer_list<void (*)()> tests) {
  char err[256] = "";
  kvp_device device{};
  if (kvproof_kernel()->memory->open(0, &device, err, sizeof err) != KVP_OK) {
    check::claim(false, "the device opens", "%s", err);
    return check::finish();
  }
  printf("%s, sm_%u\n", device.name, device.sm);
  for (void (*test)() : tests) test();
  return check::finish();
}

}  // namespace kernels_test
