// twin.cpp - loads the native reference and calls it, as twin.h says.
#include "twin.h"

#include <map>
#include <memory>
#include <vector>

#include "../twin/twin_abi.h"
#include "arguments.h"
#include "exported_table.h"

namespace kvproof {
namespace {

constexpr uint32_t kCasesMax = 4096;
constexpr uint64_t kDistributionsMax = 64;

// A case as the twin borrows it: everything that kvp_twin_case points to.
struct OwnedCase {
  Problem problem;
  std::vector<int32_t> page_table;
  kvp_problem view{};
  kvp_recipe q{}, k{}, v{};

  kvp_twin_case lend() {
    view = problem.view();
    return {&view, page_table.empty() ? nullptr : page_table.data(), q, k, v};
  }
};

// What was judged last: the sizes of what `read` returns follow from it.
std::unique_ptr<OwnedCase> last;

uint32_t number(const Napi::Object& object, const std::string& name, const char* key,
                uint64_t max) {
  return static_cast<uint32_t>(integer_argument(object.Get(key), name + "." + key, 0, max));
}

Napi::Object object_argument(const Napi::Value& value, const std::string& name) {
  if (value.IsObject()) return value.As<Napi::Object>();
  throw Napi::TypeError::New(value.Env(), name + ": an object is required");
}

// From -2^15 to 2^15: exponents and offsets of recipes.
int32_t signed_number(const Napi::Object& object, const std::string& name, const char* key) {
  const Napi::Value value = object.Get(key);
  const double x = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0.5;
  if (x == static_cast<int32_t>(x) && x >= -32768 && x <= 32768) return static_cast<int32_t>(x);
  throw Napi::TypeError::New(object.Env(), name + "." + key + ": a small integer is required");
}

kvp_recipe recipe_argument(const Napi::Object& from, const std::string& where, const char* key) {
  const std::string name = where + "." + key;
  const Napi::Object object = object_argument(from.Get(key), name);
  const int32_t scale = signed_number(object, name, "scale");
  if (scale < -1000 || scale > 1000) {
    throw Napi::TypeError::New(from.Env(), name + ".scale: -1000 to 1000 is required");
  }
  return {number(object, name, "distribution", kDistributionsMax),
          number(object, name, "seed", 0xFFFFFFFFu), scale, signed_number(object, name, "offset")};
}

std::unique_ptr<OwnedCase> case_argument(const Napi::Value& value, const std::string& name) {
  const Napi::Object object = object_argument(value, name);
  auto owned = std::make_unique<OwnedCase>();
  owned->problem = problem_argument(object.Get("problem"));
  owned->q = recipe_argument(object, name, "q");
  owned->k = recipe_argument(object, name, "k");
  owned->v = recipe_argument(object, name, "v");
  const Problem& p = owned->problem;
  if (p.appended > 0) {
    throw Napi::TypeError::New(value.Env(), name + ": appended tokens are not for the twin");
  }
  if (p.page_table_stride == 0) return owned;
  const Napi::Value table = object.Get("pageTable");
  const size_t entries = p.tokens.size() * p.page_table_stride;
  if (!table.IsTypedArray() || table.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array ||
      table.As<Napi::TypedArray>().ElementLength() != entries) {
    throw Napi::TypeError::New(value.Env(), name + ".pageTable: an Int32Array of " +
                                                std::to_string(entries) + " is required");
  }
  const auto words = table.As<Napi::Int32Array>();
  owned->page_table.assign(words.Data(), words.Data() + entries);
  return owned;
}

Napi::Object result(Napi::Env env, const Answer& answer) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("kind", answer.ok() ? "done" : answer.status == KVP_DEVICE ? "device-error" : "error");
  if (!answer.ok()) object.Set("message", answer.text);
  return object;
}

Napi::Object verdict_value(Napi::Env env, const kvp_twin_verdict& v) {
  Napi::Object object = Napi::Object::New(env);
  const auto count = [&](const char* key, uint64_t x) { object.Set(key, static_cast<double>(x)); };
  object.Set("kind", v.status == KVP_OK            ? "judged"
                     : v.status == KVP_UNSUPPORTED ? "unsupported"
                                                   : "refused");
  object.Set("text", v.text);
  count("wrongCodes", v.wrong_codes);
  count("redzoneBytes", v.redzone_bytes);
  count("changedInputs", v.changed_inputs);
  count("unwrittenBytes", v.unwritten_bytes);
  count("differingBytes", v.differing_bytes);
  count("strayBytes", v.stray_bytes);
  count("rejected", v.rejected);
  count("elements", v.elements);
  count("values", v.values);
  count("definedBytes", v.defined_bytes);
  object.Set("ratio", v.ratio);
  return object;
}

kvp_arithmetic arithmetic_argument(const Napi::Object& request) {
  const std::string name = "request.arithmetic";
  const Napi::Object object = object_argument(request.Get("arithmetic"), name);
  return {number(object, name, "fraction", 64), number(object, name, "fusedProducts", 64),
          number(object, name, "sumLanes", 1024), number(object, name, "rescaleTokens", 1u << 20)};
}

Napi::Value call_judge(const Library& library, const kvp_twin& twin, const Napi::Object& request) {
  const kvp_arithmetic arithmetic = arithmetic_argument(request);
  const Napi::Value list = request.Get("cases");
  if (!list.IsArray()) throw Napi::TypeError::New(request.Env(), "request.cases: no array");
  const Napi::Array array = list.As<Napi::Array>();
  const uint32_t count = array.Length();
  if (count == 0 || count > kCasesMax) {
    throw Napi::TypeError::New(request.Env(), "request.cases: 1 to 4096 cases are required");
  }
  std::vector<std::unique_ptr<OwnedCase>> owned;
  std::vector<kvp_twin_case> cases;
  for (uint32_t i = 0; i < count; i++) {
    owned.push_back(case_argument(array.Get(i), "request.cases[" + std::to_string(i) + "]"));
    cases.push_back(owned.back()->lend());
  }
  last.reset();
  std::vector<kvp_twin_verdict> verdicts(count);
  Answer answer = library.configure(Schedule{});
  if (answer.ok()) {
    answer = ask("judge", [&](char* err, size_t n) {
      return twin.judge(&library.table(), &arithmetic, cases.data(), count, verdicts.data(), err,
                        n);
    });
  }
  Napi::Object object = result(request.Env(), answer);
  if (!answer.ok()) return object;
  Napi::Array found = Napi::Array::New(request.Env(), count);
  for (uint32_t i = 0; i < count; i++) found.Set(i, verdict_value(request.Env(), verdicts[i]));
  object.Set("verdicts", found);
  last = std::move(owned.back());
  return object;
}

template <typename T>
T* array(Napi::Object* object, const char* key, uint64_t elements) {
  auto made = Napi::TypedArrayOf<T>::New(object->Env(), elements);
  object->Set(key, made);
  return made.Data();
}

Napi::Value call_read(const Library& library, const kvp_twin& twin, Napi::Env env) {
  if (last == nullptr) throw Napi::Error::New(env, "read: no case was judged last");
  const Problem& p = last->problem;
  const kvp_problem view = p.view();
  kvp_sizes sizes{};
  Answer answer = ask(
      "sizes", [&](char* err, size_t n) { return library.table().sizes(&view, &sizes, err, n); });
  if (!answer.ok()) return result(env, answer);
  Napi::Object object = Napi::Object::New(env);
  const uint64_t rows = p.lse_elements(), elements = p.query_elements();
  kvp_twin_arrays to{};
  to.q = array<uint16_t>(&object, "q", elements);
  to.k = array<uint16_t>(&object, "k", p.kv_elements());
  to.v = array<uint16_t>(&object, "v", p.kv_elements());
  to.cache = array<uint8_t>(&object, "cache", sizes.cache_bytes);
  to.k_residual = array<uint16_t>(&object, "kResidual", sizes.residual_bytes / 2);
  to.v_residual = array<uint16_t>(&object, "vResidual", sizes.residual_bytes / 2);
  to.output = array<uint16_t>(&object, "output", elements);
  to.lse = array<float>(&object, "lse", rows);
  to.reference = array<double>(&object, "reference", elements);
  to.radius = array<double>(&object, "radius", elements);
  to.bound = array<double>(&object, "bound", elements);
  to.alternative = array<double>(&object, "alternative", elements);
  to.reference_lse = array<double>(&object, "referenceLse", rows);
  to.lse_bound = array<double>(&object, "lseBound", rows);
  to.value_max = array<double>(&object, "valueMax", rows);
  to.guarded = array<uint8_t>(&object, "guarded", rows);
  answer = ask("read", [&](char* err, size_t n) { return twin.read(&to, err, n); });
  object.Set("kind", answer.ok() ? "done" : "error");
  if (!answer.ok()) object.Set("message", answer.text);
  return object;
}

}  // namespace

Napi::Value call_twin(const Library& library, const std::string& path, const Napi::Value& value) {
  static std::map<std::string, ExportedTable<kvp_twin>> opened;
  const Napi::Env env = value.Env();
  if (opened.count(path) == 0) {
    opened[path] = exported_table<kvp_twin>(path, "kvproof_twin", KVPROOF_TWIN_VERSION);
  }
  const ExportedTable<kvp_twin>& found = opened[path];
  if (found.table == nullptr) return result(env, Answer{KVP_INVALID, found.error});
  const Napi::Object request = object_argument(value, "request");
  const std::string call = string_argument(request.Get("call"), "request.call");
  if (call == "judge") return call_judge(library, *found.table, request);
  if (call == "read") return call_read(library, *found.table, env);
  if (call != "release") throw Napi::TypeError::New(env, "request.call: no such call");
  last.reset();
  found.table->release();
  return result(env, Answer{});
}

}  // namespace kvproof
