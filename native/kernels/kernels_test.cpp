// kernels_test.cpp - quantise, decode and combine on the emulator, without Node: against attention
// in double (kernels_test_reference.h), against their plain versions, and against themselves on
// other schedules. Runs the same on a GPU, where schedules mean nothing.
#include <algorithm>
#include <functional>

#include "kernels_test_reference.h"
#include "numerics.h"

namespace kernels_test {

using check::claim;

// Largest error in units of the allowed one, over outputs and lse; NaN anywhere gives infinity.
struct Worst {
  double output = 0, lse = 0;
};

// limit: from where on the format has only infinity; dequantised V can pass 65,504 a little.
inline double ratio_of(double got, double want, double allowed, double limit) {
  if (got == want) return 0;  // also -Inf
  if (isinf(got)) return got * want > 0 && fabs(want) + allowed >= limit ? 0 : INFINITY;
  const double ratio = fabs(got - want) / allowed;
  return ratio == ratio ? ratio : INFINITY;
}

// got_output(request, query head, channel) and got_lse(request, query head) against the reference.
inline Worst compare(const Case& c, const Inputs& in, int lanes,
                     const std::function<double(size_t, size_t, size_t)>& got_output,
                     const std::function<double(size_t, size_t)>& got_lse) {
  Worst worst;
  size_t first = 0;
  for (size_t r = 0; r < c.tokens.size(); r++) {
    const uint32_t per_head = c.query_heads / c.kv_heads;
    for (uint32_t head = 0; head < c.query_heads; head++) {
      const Rows rows =
          quantized_rows(c, in, first, static_cast<size_t>(c.tokens[r]), head / per_head);
      double q[128];
      for (size_t d = 0; d < 128; d++) q[d] = f64(in.q[(r * c.query_heads + head) * 128 + d]);
      const Expected e = expected_row(c, rows, static_cast<size_t>(c.tokens[r]), q, lanes);
      worst.lse = fmax(worst.lse, ratio_of(got_lse(r, head), e.lse, e.lse_error, INFINITY));
      for (size_t d = 0; d < 128; d++) {
        worst.output = fmax(
            worst.output, ratio_of(got_output(r, head, d), e.output[d], e.output_error[d], 65520));
      }
    }
    first += static_cast<size_t>(c.tokens[r]);
  }
  return worst;
}

inline Worst compare(const Case& c, const Inputs& in, const Halves& output,
                     const std::vector<float>& lse, int lanes = 8) {
  return compare(
      c, in, lanes,
      [&](size_t r, size_t head, size_t d) {
        return f64(output[(r * c.query_heads + head) * 128 + d]);
      },
      [&](size_t r, size_t head) { return lse[r * c.query_heads + head]; });
}

// The tail is copied, and nothing is written behind it.
inline bool window_right(const Case& c, const Halves& source, const Halves& window) {
  const size_t row = c.kv_heads * 128;
  size_t first = 0;
  for (size_t r = 0; r < c.tokens.size(); r++) {
    const size_t tokens = static_cast<size_t>(c.tokens[r]), packed = tokens / 128 * 128;
    for (size_t i = 0; i < 128 * row; i++) {
      const bool used = i / row < tokens - packed;
      const uint16_t want = used ? source[(first + packed) * row + i] : 0xffff;
      if (window[r * 128 * row + i] != want) return false;
    }
    first += tokens;
  }
  return true;
}

struct Tally {
  int cases = 0;
  Worst fast, plain;
  BitHash sm90;  // of every result of sm_90
  std::string failure;
  void fail(const Case& c, const std::string& what) {
    if (failure.empty()) failure = what + ": " + c.name();
  }
};

inline void check_case(const Case& c, const Machine& machine, Tally& tally) {
  const Inputs in(c);
  const Outcome out = run(c, in, machine, true);
  tally.cases++;
  if (out.status != KVP_OK) return tally.fail(c, out.error);
  if (machine.sm == 90) {
    tally.sm90.add(out.cache);
    tally.sm90.add(out.output);
    tally.sm90.add(out.lse);
  }
  if (out.reports != 0) tally.fail(c, "the emulator reports something");
  if (out.cache != out.cache_plain) tally.fail(c, "cache differs from the plain version");
  if (!window_right(c, in.k, out.k_residual)) tally.fail(c, "K residual window is wrong");
  if (!window_right(c, in.v, out.v_residual)) tally.fail(c, "V residual window is wrong");
  const Worst fast = compare(c, in, out.output, out.lse);
  const Worst plain = compare(c, in, out.output_plain, out.lse_plain, 1);
  const auto judge = [&](const Worst& worst, const char* what) {
    if (worst.output <= 1 && worst.lse <= 1) return;
    char text[200];
    snprintf(text, sizeof text, "%s, sm_%u, error/allowed: output %.3g, lse %.3g", what, machine.sm,
             worst.output, worst.lse);
    tally.fail(c, text);
  };
  judge(fast, "fast version");
  judge(plain, "plain version");
  tally.fast.output = fmax(tally.fast.output, fast.output);
  tally.fast.lse = fmax(tally.fast.lse, fast.lse);
}

inline void report(const Tally& tally, const char* text) {
  claim(tally.failure.empty() && tally.cases > 0, text, "%s", tally.failure.c_str());
  printf("     %d cases, largest error/allowed: output %.3f, lse %.3f; bits of sm_90 %016llx\n",
         tally.cases, tally.fast.output, tally.fast.lse,
         static_cast<unsigned long long>(tally.sm90.value));
}

inline void test_shapes() {
  const int64_t lengths[] = {0, 1, 127, 128, 129, 300, 1024};
  const uint32_t ratios[] = {1, 3, 4, 5, 8, 12};
  Tally tally;
  uint64_t seed = 1;
  for (uint32_t sm : {80u, 90u}) {
    for (uint32_t bits : {4u, 2u}) {
      for (uint32_t group : {128u, 64u, 32u}) {
        for (int64_t tokens : lengths) {
          Case c;
          c.bits = bits;
          c.group = group;
          c.kv_heads = 1 + static_cast<uint32_t>(seed % 2);
          c.query_heads = c.kv_heads * ratios[seed % 6];
          c.tokens = {tokens};
          c.splits = static_cast<uint32_t>(seed % 4);
          c.seed = seed++;
          Machine machine;
          machine.sm = sm;
          check_case(c, machine, tally);
        }
      }
    }
  }
  report(tally, "every shape is within the allowed error and packs as the plain version does");
}

inline void test_batches() {
  Tally tally;
  for (uint32_t splits : {0u, 1u, 7u, 40u}) {
    Case c;
    c.kv_heads = 2;
    c.query_heads = 6;
    c.tokens = {5, 0, 700, 128, 1};
    c.splits = splits;
    c.seed = 77 + splits;
    check_case(c, Machine{}, tally);
  }
  Case many;  // more requests than one launch carries
  many.bits = 2;
  for (int i = 0; i < 70; i++) many.tokens.push_back(i * 37 % 200);
  check_case(many, Machine{}, tally);
  report(tally, "requests of unequal length, empty ones and empty splits are right");
}

inline void test_values() {
  Tally tally;
  const Values all[] = {Values::ordinary, Values::huge,    Values::subnormal, Values::constant,
                        Values::zero,     Values::outlier, Values::wide};
  uint64_t seed = 500;
  for (Values v : all) {
    for (Values k : all) {
      for (Values q : {Values::ordinary, Values::huge, Values::subnormal, Values::wide}) {
        Case c;
        c.bits = seed % 2 ? 4 : 2;
        c.group = seed % 3 == 0 ? 128 : seed % 3 == 1 ? 64 : 32;
        c.query_heads = 2;
        c.tokens = {300};
        c.q = q;
        c.k = k;
        c.v = v;
        // Extreme products either decide everything (scale 1) or balance (scale 2^-30).
        c.softmax_scale = seed % 5 == 0 ? 1.0f : seed % 5 == 1 ? 0x1p-30f : 0.08838835f;
        c.seed = seed++;
        Machine machine;
        machine.sm = seed % 2 ? 80 : 90;
        check_case(c, machine, tally);
      }
    }
  }
  report(tally, "extreme finite inputs are within the allowed error");
}

// The reference must be able to tell: wrong results are outside of what it allows.
inline void test_power() {
  Case c;
  c.kv_heads = 2;
  c.query_heads = 4;
  c.tokens = {300};
  c.softmax_scale = 0.5f;
  const Inputs in(c);
  const Outcome out = run(c, in, Machine{}, false);
  const auto lse = [&](size_t r, size_t head) { return out.lse[r * 4 + head]; };
  const auto output = [&](size_t head, size_t d) { return f64(out.output[head * 128 + d]); };
  const auto judged = [&](const std::function<double(size_t, size_t, size_t)>& wrong) {
    return compare(c, in, 8, wrong, lse).output;
  };
  claim(judged([&](size_t, size_t head, size_t d) { return output(head, d); }) <= 1,
        "the right result is accepted");
  claim(judged([&](size_t, size_t, size_t) { return 0.0; }) > 1, "a zero output is rejected");
  claim(judged([&](size_t, size_t head, size_t d) { return output(head ^ 2, d); }) > 1,
        "swapped KV heads are rejected");
  claim(judged([&](size_t, size_t head, size_t d) { return d == 3 ? NAN : output(head, d); }) > 1,
        "a NaN is rejected");
  // The last token has one large key in the direction of q, and its value is far from the others.
  Case needle = c;
  needle.tokens = {301};
  Inputs with(needle);
  for (size_t i = 300 * 256; i < 301 * 256; i++) {
    with.k[i] = with.q[(i % 256 >= 128 ? 256 : 0) + i % 128];
    with.v[i] = 0x5640;  // 100
  }
  const Outcome right = run(needle, with, Machine{}, false);
  claim(compare(needle, with, right.output, right.lse).output <= 1, "a needle is found");
  claim(compare(needle, with, out.output, out.lse).output > 1, "a dropped last token is rejected");
}

inline bool same_results(const Outcome& a, const Outcome& b) {
  return a.status == KVP_OK && b.status == KVP_OK && a.cache == b.cache && a.output == b.output &&
         memcmp(a.lse.data(), b.lse.data(), a.lse.size() * sizeof(float)) == 0;
}

inline void test_schedules() {
  for (uint32_t sm : {80u, 90u}) {
    Case c;
    c.kv_heads = 2;
    c.query_heads = 10;
    c.tokens = {2600, 140};
    c.splits = 2;
    const Inputs in(c);
    Machine machine;
    machine.sm = sm;
    const Outcome first = run(c, in, machine, false);
    bool same = first.status == KVP_OK, silent = first.reports == 0;
    for (const char* policy : {"round-robin", "random", "pct"}) {
      for (const char* copies : {"eager", "lazy", "random"}) {
        machine.policy = policy;
        machine.copies = copies;
        machine.seed++;
        const Outcome other = run(c, in, machine, false);
        same = same && same_results(first, other);
        silent = silent && other.reports == 0;
      }
    }
    claim(same, sm == 80 ? "sm_80: no schedule changes a bit" : "sm_90: no schedule changes a bit");
    claim(silent, "no schedule is reported");
  }
}

inline void test_batch_invariance() {
  Case both;
  both.kv_heads = 2;
  both.query_heads = 6;
  both.tokens = {400, 777};
  both.splits = 3;
  const Inputs in(both);
  const Outcome batch = run(both, in, Machine{}, false);
  bool same = batch.status == KVP_OK;
  for (size_t r = 0; r < 2; r++) {
    Case one = both;
    one.tokens = {both.tokens[r]};
    Inputs own(one);
    const size_t first = r == 0 ? 0 : 400 * 256, n = static_cast<size_t>(one.tokens[0]) * 256;
    std::copy_n(in.q.begin() + static_cast<long>(r * 6 * 128), 6 * 128, own.q.begin());
    std::copy_n(in.k.begin() + static_cast<long>(first), n, own.k.begin());
    std::copy_n(in.v.begin() + static_cast<long>(first), n, own.v.begin());
    const Outcome alone = run(one, own, Machine{}, false);
    same = same && alone.status == KVP_OK &&
           std::equal(alone.output.begin(), alone.output.end(),
                      batch.output.begin() + static_cast<long>(r * 6 * 128));
  }
  claim(same, "a request gives the same bits alone and in a batch");
}

inline void test_log2() {
  double worst = 0;  // in units of 2^-22 max(1, |log2 x|)
  for (uint32_t bits = 0x3f000000u; bits < 0x4e800000u; bits += 97) {  // [1/2, 2^30)
    const float x = dev::f32_from_bits(bits), got = kvproof::log2_of(x);
    const double want = log2(static_cast<double>(x));
    worst = fmax(worst, fabs(got - want) / (0x1p-22 * fmax(1, fabs(want))));
  }
  claim(worst <= 0.5 && kvproof::log2_of(1.0f) == 0,
        "log2_of is within half of the error that the bounds allow", "%.3f", worst);
  printf("     largest error/allowed %.3f\n", worst);
}

}  // namespace kernels_test

int main() {
  using namespace kernels_test;
  return run_tests({test_log2, test_power, test_shapes, test_batches, test_values, test_schedules,
                    test_batch_invariance});
}
