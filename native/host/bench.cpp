// bench.cpp - loads the clock and calls it, as bench.h says.
#include "bench.h"

#include <map>
#include <memory>
#include <vector>

#include "../bench/bench_abi.h"
#include "arguments.h"
#include "exported_table.h"

namespace kvproof {
namespace {

constexpr uint64_t kRunsMax = 100000;
constexpr uint64_t kLayersMax = 1024;
constexpr uint64_t kSizeMax = 1u << 20;

// What was prepared last: the sizes of a head's slice follow from it.
struct Prepared {
  Problem problem;
  kvp_sizes sizes{};
};
std::unique_ptr<Prepared> prepared;

Napi::Object result(Napi::Env env, const Answer& answer) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("kind", answer.ok()                        ? "done"
                     : answer.status == KVP_UNSUPPORTED ? "unsupported"
                                                        : "error");
  if (!answer.ok()) object.Set("message", answer.text);
  return object;
}

uint32_t number(const Napi::Object& request, const char* key, uint64_t min, uint64_t max) {
  return static_cast<uint32_t>(
      integer_argument(request.Get(key), std::string("request.") + key, min, max));
}

Napi::Value call_ceilings(const kvp_bench& bench, const Napi::Object& request) {
  const uint32_t runs = number(request, "runs", 1, kRunsMax);
  double copy = 0, read = 0;
  Napi::Object object = result(request.Env(), ask("ceilings", [&](char* err, size_t n) {
                                 return bench.ceilings(runs, &copy, &read, err, n);
                               }));
  object.Set("copyGBs", copy);
  object.Set("readGBs", read);
  return object;
}

Napi::Value call_prepare(const Library& library, const kvp_bench& bench,
                         const Napi::Object& request) {
  auto next = std::make_unique<Prepared>();
  next->problem = problem_argument(request.Get("problem"));
  const bool append = request.Get("append").ToBoolean();
  const uint32_t seed = number(request, "seed", 0, 0xFFFFFFFFu);
  const kvp_problem view = next->problem.view();
  prepared.reset();
  Napi::Object object =
      result(request.Env(), ask("prepare", [&](char* err, size_t n) {
               return bench.prepare(&library.table(), &view, append, seed, &next->sizes, err, n);
             }));
  object.Set("cacheBytes", static_cast<double>(next->sizes.cache_bytes));
  prepared = std::move(next);
  return object;
}

template <typename T>
T* array(Napi::Object* object, const char* key, uint64_t elements) {
  auto made = Napi::TypedArrayOf<T>::New(object->Env(), elements);
  object->Set(key, made);
  return made.Data();
}

Napi::Value call_head(const kvp_bench& bench, const Napi::Object& request) {
  if (prepared == nullptr) throw Napi::Error::New(request.Env(), "head: nothing is prepared");
  const Problem& p = prepared->problem;
  const uint32_t index = number(request, "request", 0, p.tokens.size() - 1);
  const uint32_t kv_head = number(request, "kvHead", 0, p.kv_heads - 1);
  const auto tokens = static_cast<uint64_t>(p.tokens[index]);
  const uint64_t queries = p.query_heads / p.kv_heads, d = p.head_size;
  const kvp_sizes& sizes = prepared->sizes;
  const uint64_t record = sizes.pages == 0 ? 0 : sizes.cache_bytes / sizes.pages / p.kv_heads;
  Napi::Object object = Napi::Object::New(request.Env());
  kvp_bench_head head{};
  head.q = array<uint16_t>(&object, "q", queries * d);
  head.k = array<uint16_t>(&object, "k", tokens * d);
  head.v = array<uint16_t>(&object, "v", tokens * d);
  head.cache = array<uint8_t>(&object, "cache", tokens / KVP_RECORD_TOKENS * record);
  head.k_residual = array<uint16_t>(&object, "kResidual", KVP_RECORD_TOKENS * d);
  head.v_residual = array<uint16_t>(&object, "vResidual", KVP_RECORD_TOKENS * d);
  head.output = array<uint16_t>(&object, "output", queries * d);
  head.lse = array<float>(&object, "lse", queries);
  const Answer answer = ask("read_head", [&](char* err, size_t n) {
    return bench.read_head(index, kv_head, &head, err, n);
  });
  object.Set("kind", answer.ok() ? "done" : "error");
  if (!answer.ok()) object.Set("message", answer.text);
  return object;
}

template <typename Call>
Napi::Value call_time(const Napi::Object& request, const Call& call) {
  const uint32_t runs = number(request, "runs", 1, kRunsMax);
  std::vector<double> ms(runs);
  Napi::Object object =
      result(request.Env(),
             ask("time", [&](char* err, size_t n) { return call(runs, ms.data(), err, n); }));
  double* out = array<double>(&object, "ms", runs);
  std::copy(ms.begin(), ms.end(), out);
  return object;
}

kvp_bench_op op_argument(const Napi::Object& request) {
  static const std::map<std::string, kvp_bench_op> ops = {
      {"quantize", KVP_BENCH_QUANTIZE}, {"append", KVP_BENCH_APPEND}, {"decode", KVP_BENCH_DECODE}};
  const auto found = ops.find(string_argument(request.Get("op"), "request.op"));
  if (found != ops.end()) return found->second;
  throw Napi::TypeError::New(request.Env(), "request.op: quantize, append or decode is required");
}

Napi::Value call_step_prepare(const Library& library, const kvp_bench& bench,
                              const Napi::Object& request) {
  const Problem problem = problem_argument(request.Get("problem"));
  const kvp_bench_model model = {number(request, "layers", 1, kLayersMax),
                                 number(request, "hidden", 8, kSizeMax),
                                 number(request, "feedForward", 8, kSizeMax)};
  const uint32_t seed = number(request, "seed", 0, 0xFFFFFFFFu);
  const kvp_problem view = problem.view();
  uint64_t weights = 0, cache = 0;
  Napi::Object object = result(request.Env(), ask("step_prepare", [&](char* err, size_t n) {
                                 return bench.step_prepare(&library.table(), &view, &model, seed,
                                                           &weights, &cache, err, n);
                               }));
  object.Set("weightBytes", static_cast<double>(weights));
  object.Set("cacheBytes", static_cast<double>(cache));
  return object;
}

}  // namespace

Napi::Value call_bench(const Library& library, const std::string& path, const Napi::Value& value) {
  static const auto opened =
      exported_table<kvp_bench>(path, "kvproof_bench", KVPROOF_BENCH_VERSION);
  const Napi::Env env = value.Env();
  if (opened.table == nullptr) return result(env, Answer{KVP_INVALID, opened.error});
  if (library.emulated() || library.table().memory == nullptr) {
    return result(env, Answer{KVP_UNSUPPORTED, "the clock times kernels on a GPU only"});
  }
  if (!value.IsObject()) throw Napi::TypeError::New(env, "request: an object is required");
  const Napi::Object request = value.As<Napi::Object>();
  const kvp_bench& bench = *opened.table;
  const std::string call = string_argument(request.Get("call"), "request.call");
  if (call == "ceilings") return call_ceilings(bench, request);
  if (call == "prepare") return call_prepare(library, bench, request);
  if (call == "head") return call_head(bench, request);
  if (call == "stepPrepare") return call_step_prepare(library, bench, request);
  if (call == "stepTime") return call_time(request, bench.step_time);
  if (call == "time") {
    const kvp_bench_op op = op_argument(request);
    return call_time(request, [&](uint32_t runs, double* ms, char* err, size_t n) {
      return bench.time(op, runs, ms, err, n);
    });
  }
  if (call != "release") throw Napi::TypeError::New(env, "request.call: no such call");
  prepared.reset();
  bench.release();
  return result(env, Answer{});
}

}  // namespace kvproof
