// decode_test.cpp - decode in every format and arrangement, on the emulator or a GPU: against
// attention in double (kernels_test_reference.h) and against its plain version. The cache is packed
// here, by a third reading of record.h, so that decode and quantise are tested apart.
#include "kernels_test_reference.h"

namespace kernels_test {

using check::claim;

// Word and lowest bit of element (row, column) of a code matrix, from the text of record.h.
inline void put_code(uint32_t* words, uint32_t bits, size_t columns, size_t row, size_t column,
                     uint32_t code) {
  const size_t g = row % 8, c = column % 8 / 2, h = column % 2, step = column / 16;
  const size_t a = row / 8 % 2 + column / 8 % 2 * 2, lane = g * 4 + c;
  const size_t lane_words = columns / 16 * bits / 4, unit = std::min<size_t>(4, lane_words);
  const size_t word = bits == 2 ? step / 2 : bits == 4 ? step : step * 2 + a / 2;
  const size_t field = bits == 2 ? step % 2 * 4 + a / 2 * 2 : bits == 4 ? a / 2 * 4 : 0;
  words[((row / 16 * (lane_words / unit) + word / unit) * 32 + lane) * unit + word % unit] |=
      code << (field + a % 2 * 8 + h * 16);
}

inline uint16_t half_bits(double x) {
  return __builtin_bit_cast(uint16_t, static_cast<_Float16>(x));
}

// Packs record `index` of one request and KV head. in_k, in_v: its 16-bit rows as they came.
inline void pack_record(const Case& c, const Rows& rows, size_t index, uint8_t* record) {
  const kvproof::RecordSizes size = c.record();
  const size_t channels = c.head_size, first = index * 128;
  memset(record, 0, size.bytes());
  for (int is_v = 0; is_v < 2; is_v++) {
    uint8_t* half = record + (is_v ? size.k_half_bytes() : 0);
    auto* words = reinterpret_cast<uint32_t*>(half);
    auto* parameters = reinterpret_cast<uint16_t*>(half + size.word_bytes);
    for (size_t t = 0; t < 128; t++) {
      for (size_t d = 0; d < channels; d++) {
        const size_t i = (first + t) * channels + d;
        const uint32_t code = is_v ? rows.v_code[i] : rows.k_code[i];
        if (is_v) {
          put_code(words, c.bits, 128, d, t, code);
        } else {
          put_code(words, c.bits, channels, t, d, code);
        }
        const uint16_t scale = half_bits(is_v ? rows.v_scale[i] : rows.k_scale[i]);
        const uint16_t zero = half_bits(is_v ? rows.v_zero[i] : rows.k_zero[i]);
        if (is_v || c.k_axis == KVP_AXIS_TOKEN) {
          const size_t at = (d / c.group * 128 + t) * 2;
          parameters[at] = scale;
          parameters[at + 1] = zero;
        } else {
          const size_t r = d % 16, order = (r % 8 / 2 * (channels / 16) + d / 16) * 4 + r / 8 * 2;
          parameters[t / c.group * channels * 2 + order + r % 2] = scale;
          parameters[t / c.group * channels * 2 + channels + order + r % 2] = zero;
        }
      }
    }
  }
}

// What decode reads besides q, packed on the host; what no request owns is 0xff.
struct Packed {
  std::vector<uint8_t> cache;
  std::vector<int32_t> page_table;
  Halves k_residual, v_residual;
  std::vector<std::vector<Rows>> rows;  // (request)(KV head)

  Packed(const Case& c, const Inputs& in) {
    const size_t channels = c.head_size, bytes = c.record().bytes();
    cache.assign((c.pages() + (c.paged ? spare_pages : 0)) * c.kv_heads * bytes, 0xff);
    page_table.assign(c.tokens.size() * c.page_table_stride(), 0x7f7f7f7f);
    k_residual.assign(c.tokens.size() * 128 * c.kv_heads * channels, 0xffff);
    v_residual = k_residual;
    size_t first_token = 0, first_record = 0;
    for (size_t r = 0; r < c.tokens.size(); r++) {
      const size_t tokens = static_cast<size_t>(c.tokens[r]), records = tokens / 128;
      rows.emplace_back();
      for (uint32_t head = 0; head < c.kv_heads; head++) {
        rows[r].push_back(quantized_rows(c, in, first_token, tokens, head));
        for (size_t i = 0; i < records; i++) {
          const uint32_t page = c.page_of(static_cast<uint32_t>(first_record + i));
          page_table[r * c.page_table_stride() + i] = static_cast<int32_t>(page);
          uint8_t* record = &cache[(page * c.kv_heads + head) * bytes];
          if (c.bits != 16) {
            pack_record(c, rows[r][head], i, record);
            continue;
          }
          for (size_t t = 0; t < 128; t++) {
            const size_t row = (first_token + i * 128 + t) * c.kv_heads + head, n = channels * 2;
            memcpy(record + t * n, &in.k[row * channels], n);
            memcpy(record + (128 + t) * n, &in.v[row * channels], n);
          }
        }
      }
      const size_t row = c.kv_heads * channels, from = (first_token + records * 128) * row;
      std::copy_n(&in.k[from], tokens % 128 * row, &k_residual[r * 128 * row]);
      std::copy_n(&in.v[from], tokens % 128 * row, &v_residual[r * 128 * row]);
      first_token += tokens;
      first_record += records;
    }
  }
};

inline Outcome decode(const Case& c, const Inputs& in, const Packed& packed,
                      const Machine& machine) {
  const kvp_kernel& kernel = *kvproof_kernel();
  Outcome out;
  char err[512] = "";
  const kvp_schedule schedule{sizeof schedule, machine.seed, machine.policy, machine.copies, 0,
                              machine.sm};
  kernel.memory->reset();
  if (kernel.emulator != nullptr) kernel.emulator->configure(&schedule, err, sizeof err);
  const kvp_problem problem = c.problem();
  const uint32_t splits = c.splits > 0 ? c.splits : kvproof::chosen_splits(problem, 132);
  out.output.assign(in.q.size(), 0xffff);
  out.lse.assign(c.query_rows(), NAN);
  out.output_plain = out.output;
  out.lse_plain = out.lse;
  const std::vector<uint8_t> scratch(kvproof::workspace_bytes(problem, splits), 0xff);
  kvp_buffers b{};
  b.q = upload(in.strided_q(c), "q");
  b.cache = upload(packed.cache, "cache");
  b.page_table = upload(packed.page_table, "page_table");
  b.k_residual = upload(packed.k_residual, "k_residual");
  b.v_residual = upload(packed.v_residual, "v_residual");
  b.workspace = upload(scratch, "workspace");
  b.output = upload(out.output, "output");
  b.lse = upload(out.lse, "lse");
  kvp_buffers plain = b;
  plain.output = upload(out.output, "output_plain");
  plain.lse = upload(out.lse, "lse_plain");
  dev::Status launched = kvproof::launch_decode(problem, b, splits, machine.sm, nullptr);
  if (launched.ok()) launched = kvproof::launch_decode_plain(problem, plain, nullptr);
  out.status = launched.code;
  out.error = launched.text;
  if (!launched.ok()) return out;
  out.status = kernel.memory->synchronize(nullptr, err, sizeof err);
  out.error = err;
  download(out.output, b.output);
  download(out.lse, b.lse);
  download(out.output_plain, plain.output);
  download(out.lse_plain, plain.lse);
  if (kernel.emulator != nullptr) out.reports = kernel.emulator->report_count();
  return out;
}

// Largest error in units of the allowed one; NaN anywhere gives infinity.
inline double worst_of(const Case& c, const Inputs& in, const Packed& packed, const Halves& output,
                       const std::vector<float>& lse, int lanes) {
  double worst = 0;
  const auto judge = [&](double got, double want, double allowed) {
    const double ratio = got == want ? 0 : fabs(got - want) / allowed;
    worst = fmax(worst, ratio == ratio ? ratio : INFINITY);
  };
  const uint32_t heads = c.query_heads / c.kv_heads;
  for (size_t row = 0; row < c.query_rows(); row++) {
    const size_t head = row % c.query_heads, token = row / c.query_heads % c.query_tokens;
    const size_t request = row / c.query_heads / c.query_tokens, channels = c.head_size;
    const int64_t seen = c.tokens[request] - c.query_tokens + 1 + static_cast<int64_t>(token);
    double q[256];
    for (size_t d = 0; d < channels; d++) q[d] = f64(in.q[row * channels + d], c.is_bf16());
    const Expected e = expected_row(c, packed.rows[request][head / heads],
                                    static_cast<size_t>(std::max<int64_t>(seen, 0)), q, lanes);
    judge(lse[row], e.lse, e.lse_error);
    for (size_t d = 0; d < channels; d++) {
      judge(f64(output[row * channels + d], c.is_bf16()), e.output[d], e.output_error[d]);
    }
  }
  return worst;
}

struct DecodeTally {
  int cases = 0;
  double fast = 0;
  BitHash sm90;
  std::string failure;

  void check(const Case& c, uint32_t sm) {
    const Inputs in(c);
    const Packed packed(c, in);
    Machine machine;
    machine.sm = sm;
    machine.seed = c.seed;
    machine.policy = c.seed % 3 == 0 ? "random" : "round-robin";
    machine.copies = c.seed % 2 == 0 ? "lazy" : "eager";
    const Outcome out = decode(c, in, packed, machine);
    cases++;
    const double of_fast = worst_of(c, in, packed, out.output, out.lse, 8);
    const double of_plain = worst_of(c, in, packed, out.output_plain, out.lse_plain, 1);
    fast = fmax(fast, of_fast);
    if (sm == 90) {
      sm90.add(out.output);
      sm90.add(out.lse);
    }
    char text[300];
    if (out.status == KVP_OK && out.reports == 0 && of_fast <= 1 && of_plain <= 1) return;
    snprintf(text, sizeof text,
             "sm_%u, status %d %.60s, reports %u, error/allowed %.3g, plain %.3g: ", sm, out.status,
             out.error.c_str(), out.reports, of_fast, of_plain);
    if (failure.empty()) failure = text + c.name();
  }
  void report(const char* text) const {
    claim(failure.empty() && cases > 0, text, "%s", failure.c_str());
    printf("     %d cases, largest error/allowed %.3f; bits of sm_90 %016llx\n", cases, fast,
           static_cast<unsigned long long>(sm90.value));
  }
};

// Every format, with what else varies drawn from the seed.
inline void test_formats() {
  uint64_t seed = 1;
  for (uint32_t bits : {2u, 4u, 8u, 16u}) {
    DecodeTally tally;
    for (uint32_t head_size : {64u, 128u, 256u}) {
      for (kvp_axis axis : {KVP_AXIS_CHANNEL, KVP_AXIS_TOKEN}) {
        for (uint32_t group : {32u, 64u, 128u, 256u}) {
          const bool known = bits == 16
                                 ? axis == KVP_AXIS_CHANNEL && group == 128
                                 : group <= 128 || (axis == KVP_AXIS_TOKEN && head_size == 256);
          if (!known) continue;
          for (uint32_t sm : {80u, 89u, 90u}) {
            check::Random random(seed);
            Case c;
            c.bits = bits;
            c.head_size = head_size;
            c.k_axis = axis;
            c.group = group;
            c.type = random.below(2) ? KVP_BF16 : KVP_FP16;
            c.query_tokens = 1 + random.below(random.below(2) ? 8 : 1);
            c.kv_heads = 1 + random.below(2);
            c.query_heads = c.kv_heads * (1 + random.below(6));
            c.tokens = {128 + random.below(700), random.below(300), 128 * random.below(4)};
            c.splits = random.below(4);
            c.paged = random.below(2);
            c.padding = random.below(2) * 8;
            c.seed = seed++;
            tally.check(c, sm);
          }
        }
      }
    }
    char text[80];
    snprintf(text, sizeof text, "%u bits: every format is within the allowed error", bits);
    tally.report(text);
  }
}

// The last query tokens see the last records, the window, or both in part.
inline void test_query_tokens() {
  DecodeTally tally;
  uint64_t seed = 900;
  for (uint32_t query_tokens : {2u, 8u}) {
    for (int64_t tokens : {0, 1, 5, 127, 128, 129, 133, 256, 384}) {
      Case c;
      c.bits = seed % 4 == 3 ? 16 : seed % 4 == 2 ? 8 : seed % 4 == 1 ? 4 : 2;
      c.group = 128;
      c.query_tokens = query_tokens;
      c.query_heads = 3;
      c.tokens = {tokens};
      c.splits = 1 + static_cast<uint32_t>(seed % 2);
      c.seed = seed++;
      tally.check(c, seed % 2 ? 80 : 90);
    }
  }
  tally.report("query tokens are causal among themselves");
}

}  // namespace kernels_test

int main() {
  using namespace kernels_test;
  return run_tests({test_formats, test_query_tokens});
}
