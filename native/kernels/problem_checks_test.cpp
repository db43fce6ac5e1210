// problem_checks_test.cpp - every wrong argument of the C interface: its status and its sentence,
// and that a refused call touches nothing.
#include "problem_checks.h"

#include <math.h>

#include <functional>

#include "kernels_test_run.h"

namespace kernels_test {

using check::claim;
using kvproof::ErrorSink;
using kvproof::UsedBuffer;

const int64_t lengths[] = {300, 0, 130}, negative[] = {300, -1, 130}, endless[] = {300, 1 << 25, 0};
const int64_t kept[] = {0, 0, 128}, odd_kept[] = {0, 0, 100}, much_kept[] = {0, 0, 256};

// Valid, with every option in use.
kvp_problem good() {
  kvp_problem p{};
  p.struct_bytes = sizeof p;
  p.requests = 3;
  p.query_heads = 12;
  p.kv_heads = 4;
  p.head_size = 256;
  p.bits = 8;
  p.group = 256;
  p.k_axis = KVP_AXIS_TOKEN;
  p.softmax_scale = 0.5f;
  p.format = "bitdecoding";
  p.tokens = lengths;
  p.query_tokens = 8;
  p.type = KVP_BF16;
  p.page_table_stride = 2;
  p.pool_pages = 3;
  p.kept = kept;
  p.k_head_stride = 264;
  p.v_token_stride = 256;  // heads outside, tokens inside
  p.v_head_stride = 256 * 430;
  return p;
}

struct Refusal {
  const char* sentence;
  kvp_status status;
  std::function<void(kvp_problem&)> spoil;
};

const Refusal refusals[] = {
    {"problem.struct_bytes: 8, this library was built for 128", KVP_INVALID,
     [](auto& p) { p.struct_bytes = 8; }},
    {"problem.bits: 16 is not 2, 4 or 8", KVP_UNSUPPORTED, [](auto& p) { p.bits = 16; }},
    {"problem.bits: 8 is not 16, as format \"fp16\" requires", KVP_INVALID,
     [](auto& p) { p.format = "fp16"; }},
    {"problem.group: 256 is not 128, as format \"fp16\" requires", KVP_INVALID,
     [](auto& p) { p.format = "fp16", p.bits = 16; }},
    {"problem.k_axis: 1 is not 0 (channel), as format \"fp16\" requires", KVP_INVALID,
     [](auto& p) { p.format = "fp16", p.bits = 16, p.group = 128; }},
    {"problem.format: \"kivi\" is not \"bitdecoding\" or \"fp16\"", KVP_UNSUPPORTED,
     [](auto& p) { p.format = "kivi"; }},
    {"problem.format: null", KVP_INVALID, [](auto& p) { p.format = nullptr; }},
    {"problem.k_axis: 2 is not 0 (channel) or 1 (token)", KVP_INVALID,
     [](auto& p) { p.k_axis = 2; }},
    {"problem.group: 256 is not 128, 64 or 32", KVP_UNSUPPORTED,
     [](auto& p) { p.k_axis = KVP_AXIS_CHANNEL; }},
    {"problem.group: 512 is not 128, 64 or 32, or problem.head_size", KVP_UNSUPPORTED,
     [](auto& p) { p.group = 512; }},
    {"problem.head_size: 96 is not 64, 128 or 256", KVP_UNSUPPORTED,
     [](auto& p) { p.head_size = 96; }},
    {"problem.type: 2 is not 0 (fp16) or 1 (bf16)", KVP_INVALID, [](auto& p) { p.type = 2; }},
    {"problem.query_tokens: 0, at least 1 is required", KVP_INVALID,
     [](auto& p) { p.query_tokens = 0; }},
    {"problem.query_tokens: 9, at most 8", KVP_UNSUPPORTED, [](auto& p) { p.query_tokens = 9; }},
    {"problem.splits: 4097, at most 4096", KVP_UNSUPPORTED, [](auto& p) { p.splits = 4097; }},
    {"problem.softmax_scale: inf is not finite", KVP_INVALID,
     [](auto& p) { p.softmax_scale = INFINITY; }},
    {"problem.softmax_scale: -40000 is beyond 32768", KVP_UNSUPPORTED,
     [](auto& p) { p.softmax_scale = -40000; }},
    {"problem.kv_heads: 0, at least 1 is required", KVP_INVALID, [](auto& p) { p.kv_heads = 0; }},
    {"problem.query_heads: 10 is not a multiple of problem.kv_heads 4", KVP_INVALID,
     [](auto& p) { p.query_heads = 10; }},
    {"problem.query_heads: 65 for each KV head, at most 64", KVP_UNSUPPORTED,
     [](auto& p) { p.query_heads = 260; }},
    {"problem.kv_heads: 4097, at most 4096", KVP_UNSUPPORTED,
     [](auto& p) { p.query_heads = p.kv_heads = 4097; }},
    {"problem.requests: 0, at least 1 is required", KVP_INVALID, [](auto& p) { p.requests = 0; }},
    {"problem.tokens: null", KVP_INVALID, [](auto& p) { p.tokens = nullptr; }},
    {"problem.tokens[1]: -1 is negative", KVP_INVALID, [](auto& p) { p.tokens = negative; }},
    {"problem.tokens[1]: 33554432, at most 16777216", KVP_UNSUPPORTED,
     [](auto& p) { p.tokens = endless; }},
    {"problem.page_table_stride: 1, the longest request has 2 records", KVP_INVALID,
     [](auto& p) { p.page_table_stride = 1; }},
    {"problem.pool_pages: 0, at least 1 is required", KVP_INVALID,
     [](auto& p) { p.pool_pages = 0; }},
    {"problem.pool_pages: 3 without a page table, 0 is required", KVP_INVALID,
     [](auto& p) { p.page_table_stride = 0; }},
    {"problem.kept: kept tokens without a page table", KVP_INVALID,
     [](auto& p) { p.page_table_stride = p.pool_pages = 0; }},
    {"problem.kept[2]: 100 is not a multiple of 128 from 0 to problem.tokens 130", KVP_INVALID,
     [](auto& p) { p.kept = odd_kept; }},
    {"problem.kept[2]: 256 is not a multiple of 128 from 0 to problem.tokens 130", KVP_INVALID,
     [](auto& p) { p.kept = much_kept; }},
    {"problem.q_head_stride: 257 is not a multiple of 8 up to 2^40", KVP_INVALID,
     [](auto& p) { p.q_head_stride = 257; }},
    {"problem.k_token_stride: 1100 is not a multiple of 8 up to 2^40", KVP_INVALID,
     [](auto& p) { p.k_token_stride = 1100; }},
    {"problem.k_token_stride: rows of 256 overlap with strides of 1024 and 264", KVP_INVALID,
     [](auto& p) { p.k_token_stride = 1024; }},
    {"problem.v_token_stride: rows of 256 overlap with strides of 256 and 109824", KVP_INVALID,
     [](auto& p) { p.v_head_stride = 256 * 429; }},
    {"problem.q_token_stride: rows of 256 overlap with strides of 3072 and 248", KVP_INVALID,
     [](auto& p) { p.q_head_stride = 248, p.q_token_stride = 3072; }},
};

void test_problems() {
  char err[256] = "";
  const kvp_problem right = good();
  claim(kvproof::check_problem(&right, {err, sizeof err}) == KVP_OK, "all options are accepted",
        "%s", err);
  std::string wrong;
  for (const Refusal& r : refusals) {
    kvp_problem p = good();
    r.spoil(p);
    err[0] = 0;
    const kvp_status status = kvproof::check_problem(&p, {err, sizeof err});
    if (status != r.status || strcmp(err, r.sentence) != 0) {
      wrong += std::string(r.sentence) + " expected, " + err + " found; ";
    }
  }
  claim(wrong.empty(), "each wrong problem is refused in its sentence", "%s", wrong.c_str());
  char short_err[12];
  kvp_problem p = good();
  p.bits = 3;
  kvproof::check_problem(&p, {short_err, sizeof short_err});
  claim(strcmp(short_err, "problem.bit") == 0, "a long sentence is cut and terminated");
  claim(kvproof::check_problem(&p, {nullptr, 0}) == KVP_UNSUPPORTED,
        "no sentence may be asked for");
}

void test_buffers() {
  kvproof_kernel()->memory->reset();
  const uint8_t* device = upload(std::vector<uint8_t>(4096), "buffer");
  std::vector<uint8_t> host(4096);
  const auto sentence = [](const std::vector<UsedBuffer>& buffers) {
    char err[256] = "accepted";
    kvproof::check_buffers(buffers, {err, sizeof err});
    return std::string(err);
  };
  const auto begins = [](const std::string& text, const char* start) {
    return text.rfind(start, 0) == 0;
  };
  const UsedBuffer out{"output", device, 1024, true}, q{"q", device + 1024, 1024, false};
  claim(sentence({out, q}) == "accepted", "buffers side by side are accepted");
  claim(sentence({out, {"q", nullptr, 0, false}}) == "accepted", "an unused buffer may be null");
  claim(sentence({out, {"q", nullptr, 1, false}}) == "buffers.q: null", "a used one may not");
  claim(begins(sentence({{"q", device + 8, 64, false}}), "buffers.q: address 0x"),
        "a misaligned buffer is refused");
  claim(begins(sentence({{"q", host.data() + (16 - reinterpret_cast<uintptr_t>(host.data()) % 16),
                          1024, false}}),
               "buffers.q: 1024 bytes at 0x"),
        "host memory is refused");
  claim(sentence({out, {"q", device + 1008, 16, false}}) ==
            "buffers.output: overlaps buffers.q, which the call uses too",
        "an output over the end of an input is refused");
  claim(sentence({{"q", device, 1024, false}, {"k", device + 512, 1024, false}}) == "accepted",
        "inputs may overlap");
}

// A call that is refused for its last buffer has not written its first.
void test_nothing_touched() {
  kvproof_kernel()->memory->reset();
  Case c;
  c.tokens = {130};
  const Inputs in(c);
  const kvp_problem p = c.problem();
  kvp_sizes size{};
  char err[256] = "";
  kvproof_kernel()->sizes(&p, &size, err, sizeof err);
  std::vector<uint8_t> cache(size.cache_bytes, 0x5a);
  kvp_buffers b{};
  b.k = upload(in.k, "k");
  b.v = upload(in.v, "v");
  b.cache = upload(cache, "cache");
  b.k_residual = upload(Halves(size.residual_bytes / 2), "k_residual");
  b.v_residual = b.k_residual;
  const bool refused =
      kvproof_kernel()->quantize(&p, &b, nullptr, err, sizeof err) == KVP_INVALID &&
      strcmp(err, "buffers.k_residual: overlaps buffers.v_residual, which the call uses too") == 0;
  kvproof_kernel()->memory->synchronize(nullptr, err, sizeof err);
  download(cache, b.cache);
  claim(refused && cache == std::vector<uint8_t>(size.cache_bytes, 0x5a),
        "a refused call has written nothing", "%s", err);
  claim(kvproof_kernel()->append(&p, &b, nullptr, err, sizeof err) == KVP_INVALID &&
            strcmp(err, "problem.page_table_stride: 0, append needs a page table") == 0,
        "append needs a page table", "%s", err);
}

}  // namespace kernels_test

int main() {
  using namespace kernels_test;
  return run_tests({test_problems, test_buffers, test_nothing_touched});
}
