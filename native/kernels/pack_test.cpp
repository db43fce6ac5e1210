// pack_test.cpp - quantize, append and dequantize over every format, on the emulator and on a GPU:
// the cache of the fast version equals that of the plain one in every byte, whether tokens came at
// once or one a step; windows hold the tail; dequantised values equal those of a scalar quantiser
// in this file, which knows neither words nor records.
#include <math.h>

#include "pack_test_case.h"

namespace kernels_test {

using check::claim;

// One group: elements first, first + stride, ... of x, to dequantised words.
inline void expected_group(const Pack& c, const uint16_t* x, size_t stride, size_t count,
                           uint16_t* out) {
  float low = INFINITY, high = -INFINITY;
  for (size_t i = 0; i < count; i++) {
    const float value = float_of(x[i * stride], c.type);
    if (value < low || (value == low && signbit(value))) low = value;
    if (value > high || (value == high && !signbit(value))) high = value;
  }
  const float levels = static_cast<float>((1 << c.bits) - 1);
  const float range = high - low, inverse = range > 0 ? levels / range : 0;
  const float scale = float_of(word_of(inverse == 0 ? 0 : 1 / inverse, KVP_FP16), KVP_FP16);
  const float zero = float_of(word_of(low, KVP_FP16), KVP_FP16);
  for (size_t i = 0; i < count; i++) {
    const float t = (float_of(x[i * stride], c.type) - low) * inverse;
    const float code = t == t ? fminf(roundf(t), levels) : 0;
    out[i * stride] = word_of(fmaf(code, scale, zero), c.type);
  }
}

// (tokens, kv_heads, head_size) dequantised; tails and 16-bit records as they came.
inline Halves expected_values(const Pack& c, const Halves& x, bool is_v) {
  Halves out = x;
  if (c.bits == 16) return out;
  const size_t d = c.head_size, token = c.kv_heads * d;
  const size_t channels = std::min<size_t>(c.group, d);
  size_t first = 0;
  for (int64_t tokens : c.tokens) {
    const size_t packed = static_cast<size_t>(tokens) / 128 * 128;
    for (size_t head = 0; head < c.kv_heads; head++) {
      const size_t at = first * token + head * d;
      if (is_v || c.k_axis == KVP_AXIS_TOKEN) {
        for (size_t i = 0; i < packed; i++) {
          for (size_t g = 0; g < d; g += channels) {
            const size_t from = at + i * token + g;
            expected_group(c, &x[from], 1, channels, &out[from]);
          }
        }
        continue;
      }
      for (size_t i = 0; i < packed; i += c.group) {
        for (size_t channel = 0; channel < d; channel++) {
          const size_t from = at + i * token + channel;
          expected_group(c, &x[from], token, c.group, &out[from]);
        }
      }
    }
    first += static_cast<size_t>(tokens);
  }
  return out;
}

struct PackTally {
  int cases = 0;
  BitHash bits;
  std::string failure;
  void fail(const Pack& c, const std::string& what) {
    if (failure.empty()) failure = what + ": " + c.name();
  }
};

// Where two caches differ first: page, KV head and byte of the record.
inline std::string difference(const Pack& c, const std::vector<uint8_t>& got,
                              const std::vector<uint8_t>& want) {
  const kvproof::RecordSizes record = kvproof::record_sizes(c.bits, c.group, c.head_size, c.k_axis);
  size_t at = 0, count = 0;
  for (size_t i = got.size(); i-- > 0;) {
    if (got[i] != want[i]) at = i, count++;
  }
  char text[160];
  snprintf(text, sizeof text, " (%zu bytes, first page %zu, KV head %zu, byte %zu: %02x, not %02x)",
           count, at / record.bytes() / c.kv_heads, at / record.bytes() % c.kv_heads,
           at % record.bytes(), got[at], want[at]);
  return text;
}

// The tail of each request; behind it nothing was written (at_once), or something older.
inline bool tail_right(const Pack& c, const Halves& x, const Halves& window, bool at_once) {
  const size_t token = c.kv_heads * c.head_size;
  size_t first = 0;
  for (size_t r = 0; r < c.tokens.size(); r++) {
    const size_t tokens = static_cast<size_t>(c.tokens[r]), packed = tokens / 128 * 128;
    for (size_t i = 0; i < 128 * token; i++) {
      const bool used = i / token < tokens - packed;
      if (!used && !at_once) continue;
      const uint16_t want = used ? x[(first + packed) * token + i] : 0xffff;
      if (window[r * 128 * token + i] != want) return false;
    }
    first += tokens;
  }
  return true;
}

inline void check_dequantized(const Pack& c, Bench& bench, PackTally& tally) {
  Halves k(bench.k.size(), 0xffff), v = k;
  bench.buffers.k_out = upload(k, "k_out");
  bench.buffers.v_out = upload(v, "v_out");
  char err[256];
  const bool ran = kvproof::launch_dequantize(bench.problem, bench.buffers, nullptr).ok() &&
                   kvproof_kernel()->memory->synchronize(nullptr, err, sizeof err) == KVP_OK;
  if (!ran) return tally.fail(c, "dequantize failed");
  download(k, bench.buffers.k_out);
  download(v, bench.buffers.v_out);
  if (k != expected_values(c, bench.k, false)) tally.fail(c, "keys are wrong");
  if (v != expected_values(c, bench.v, true)) tally.fail(c, "values are wrong");
}

inline void check_pack(const Pack& c, const Machine& machine, PackTally& tally) {
  const kvp_kernel& kernel = *kvproof_kernel();
  char err[512] = "";
  const kvp_schedule schedule{sizeof schedule, machine.seed, machine.policy, machine.copies, 0,
                              machine.sm};
  if (kernel.emulator != nullptr) kernel.emulator->configure(&schedule, err, sizeof err);
  tally.cases++;
  Bench bench(c);
  bench.fresh();
  if (!kvproof::launch_quantize_plain(bench.problem, bench.buffers, nullptr).ok()) {
    return tally.fail(c, "the plain version failed");
  }
  kernel.memory->synchronize(nullptr, err, sizeof err);
  const std::vector<uint8_t> plain = bench.cache();
  if (c.appended > 0) {
    bench.fresh();
    const dev::Status appended = bench.append_all();
    if (!appended.ok() || kernel.memory->synchronize(nullptr, err, sizeof err) != KVP_OK) {
      return tally.fail(c, appended.ok() ? err : appended.text);
    }
    const std::vector<uint8_t> appended_cache = bench.cache();
    if (appended_cache != plain) {
      tally.fail(c, "appended tokens give another cache" + difference(c, appended_cache, plain));
    }
    const kvp_buffers& b = bench.buffers;
    if (!tail_right(c, bench.k, bench.window(b.k_residual), false) ||
        !tail_right(c, bench.v, bench.window(b.v_residual), false)) {
      tally.fail(c, "a window with appended tokens is wrong");
    }
    check_dequantized(c, bench, tally);
  }
  bench.fresh();
  const dev::Status quantized =
      kvproof::launch_quantize(bench.problem, bench.buffers, false, nullptr);
  if (!quantized.ok() || kernel.memory->synchronize(nullptr, err, sizeof err) != KVP_OK) {
    return tally.fail(c, quantized.ok() ? err : quantized.text);
  }
  const std::vector<uint8_t> fast = bench.cache();
  tally.bits.add(fast);
  if (fast != plain) {
    tally.fail(c, "the cache differs from that of the plain version" + difference(c, fast, plain));
  }
  if (!tail_right(c, bench.k, bench.window(bench.buffers.k_residual), true) ||
      !tail_right(c, bench.v, bench.window(bench.buffers.v_residual), true)) {
    tally.fail(c, "a window is wrong");
  }
  check_dequantized(c, bench, tally);
  if (kernel.emulator != nullptr && kernel.emulator->report_count() != 0) {
    tally.fail(c, "the emulator reports something");
  }
}

inline void report(const PackTally& tally, const char* text) {
  claim(tally.failure.empty() && tally.cases > 0, text, "%s", tally.failure.c_str());
  printf("     %d cases; bits %016llx\n", tally.cases,
         static_cast<unsigned long long>(tally.bits.value));
}

inline void test_formats() {
  PackTally tally;
  uint64_t seed = 1;
  for (uint32_t head_size : {64u, 128u, 256u}) {
    for (uint32_t bits : {2u, 4u, 8u, 16u}) {
      for (uint32_t axis : {KVP_AXIS_CHANNEL, KVP_AXIS_TOKEN}) {
        for (uint32_t group : {32u, 64u, 128u, 256u}) {
          const bool whole_head = axis == KVP_AXIS_TOKEN && group == head_size;
          if (group == 256 && !whole_head) continue;
          if (bits == 16 && (axis != KVP_AXIS_CHANNEL || group != 128)) continue;
          for (uint32_t type : {KVP_FP16, KVP_BF16}) {
            Pack c;
            c.bits = bits;
            c.group = group;
            c.head_size = head_size;
            c.k_axis = axis;
            c.type = type;
            c.kv_heads = 1 + seed % 2;
            c.special = seed % 3 == 0;
            c.padding = seed % 4 == 1 ? 8 : 0;
            c.tokens = {static_cast<int64_t>(128 + seed * 37 % 130)};
            c.seed = seed++;
            Machine machine;
            machine.sm = seed % 3 == 0 ? 80 : seed % 3 == 1 ? 89 : 90;
            check_pack(c, machine, tally);
          }
        }
      }
    }
  }
  report(tally, "every format packs as the plain version and as a scalar quantiser");
}

inline void test_arrangements() {
  PackTally tally;
  const char* policies[] = {"round-robin", "random", "pct"};
  const char* copies[] = {"eager", "lazy", "random"};
  for (uint64_t seed = 1; seed <= 12; seed++) {
    Pack c;
    c.bits = seed % 4 == 0 ? 16 : 1u << (1 + seed % 3);
    c.head_size = seed % 2 == 0 ? 64 : 128;
    c.group = 32u << seed % 3;
    c.k_axis = seed % 5 == 1 ? KVP_AXIS_TOKEN : KVP_AXIS_CHANNEL;
    if (c.bits == 16) c.k_axis = KVP_AXIS_CHANNEL;
    c.type = seed % 3 == 1 ? KVP_BF16 : KVP_FP16;
    c.kv_heads = 2;
    c.paged = true;
    c.padding = seed % 2 == 0 ? 16 : 0;
    c.shared = static_cast<int64_t>(seed % 3);
    c.appended = seed % 4 == 1 ? 1000 : static_cast<int64_t>(seed * 29);
    c.tokens = {300, 0, 128, 5, 261};
    c.seed = 100 + seed;
    Machine machine;
    machine.policy = policies[seed % 3];
    machine.copies = copies[seed / 3 % 3];
    machine.seed = seed;
    check_pack(c, machine, tally);
  }
  Pack many;  // more requests than one launch carries
  many.paged = true;
  many.appended = 3;
  many.head_size = 64;
  for (int i = 0; i < 70; i++) many.tokens.push_back(i * 37 % 200);
  check_pack(many, Machine{}, tally);
  Pack contiguous = many;
  contiguous.paged = false;
  contiguous.appended = 0;
  check_pack(contiguous, Machine{}, tally);
  report(tally, "pages, shared records, rows apart and appended tokens give the bits of one shot");
}

}  // namespace kernels_test

int main() {
  using namespace kernels_test;
  return run_tests({test_formats, test_arrangements});
}
