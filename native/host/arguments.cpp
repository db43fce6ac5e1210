// arguments.cpp - reads JavaScript arguments: every number, string and array is checked for type,
// range and size before anything native sees it, and a wrong one is one sentence.
#include "arguments.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kvproof {
namespace {

constexpr uint64_t kUint32Max = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kSafeIntegerMax = (1ull << 53) - 1;

// Bounds that keep every product of problem.h below 2^64 and a hostile length from taking all
// memory: one typed array holds at most 2^32 bytes, so no larger problem could bring its inputs
// anyway.
constexpr uint32_t kRequestsMax = 1u << 20;
constexpr uint64_t kTotalTokensMax = 1ull << 32;
constexpr uint64_t kHeadsMax = 1u << 12;
constexpr uint64_t kHeadSizeMax = 1u << 12;
constexpr uint64_t kQueryTokensMax = 1u << 10;
constexpr uint64_t kInputPaddingMax = 1u << 12;
constexpr uint64_t kPagesMax = (1u << 31) - 1;
constexpr size_t kStringBytesMax = 1u << 16;

[[noreturn]] void fail(const Napi::Env& env, const std::string& name, const std::string& found,
                       const std::string& required) {
  throw Napi::TypeError::New(env, name + ": " + found + " found, " + required + " is required");
}

// A short description of any value, without calling its methods.
std::string describe(const Napi::Value& value) {
  if (value.IsEmpty() || value.IsUndefined()) return "undefined";
  if (value.IsNull()) return "null";
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value() ? "true" : "false";
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
    char text[32];
    std::snprintf(text, sizeof(text), "%.17g", number);
    return text;
  }
  if (value.IsString()) {
    std::string text = value.As<Napi::String>().Utf8Value();
    if (text.size() <= 40) return "\"" + text + "\"";
    return "a string of " + std::to_string(text.size()) + " bytes";
  }
  if (value.IsSymbol()) return "a symbol";
  if (value.IsBigInt()) return "a bigint";
  if (value.IsFunction()) return "a function";
  if (value.IsArray()) return "an array";
  if (value.IsTypedArray()) return "a typed array of another type";
  return "an object";
}

Napi::Object object_argument(const Napi::Value& value, const std::string& name) {
  if (!value.IsObject() || value.IsFunction() || value.IsArray() || value.IsTypedArray()) {
    fail(value.Env(), name, describe(value), "an object");
  }
  return value.As<Napi::Object>();
}

std::string range(uint64_t min, uint64_t max) {
  return "an integer from " + std::to_string(min) + " to " + std::to_string(max);
}

uint32_t field32(const Napi::Object& object, const char* owner, const char* key, uint64_t min,
                 uint64_t max) {
  const std::string name = std::string(owner) + "." + key;
  return static_cast<uint32_t>(integer_argument(object.Get(key), name, min, max));
}

uint32_t axis_argument(const Napi::Value& value, const std::string& name) {
  const std::string axis = string_argument(value, name);
  if (axis == "channel") return KVP_AXIS_CHANNEL;
  if (axis == "token") return KVP_AXIS_TOKEN;
  fail(value.Env(), name, describe(value), "\"channel\" or \"token\"");
}

uint32_t type_argument(const Napi::Value& value, const std::string& name) {
  const std::string type = string_argument(value, name);
  if (type == "fp16") return KVP_FP16;
  if (type == "bf16") return KVP_BF16;
  fail(value.Env(), name, describe(value), "\"fp16\" or \"bf16\"");
}

bool flag_argument(const Napi::Value& value, const std::string& name) {
  if (!value.IsBoolean()) fail(value.Env(), name, describe(value), "true or false");
  return value.As<Napi::Boolean>().Value();
}

float scale_argument(const Napi::Value& value, const std::string& name) {
  const std::string required = "a finite float32 number";
  if (!value.IsNumber()) fail(value.Env(), name, describe(value), required);
  // Rounded to fp32 here: a double beyond the range of fp32 becomes infinite and is refused with
  // the rest.
  const float scale = value.As<Napi::Number>().FloatValue();
  if (!std::isfinite(scale)) fail(value.Env(), name, describe(value), required);
  return scale;
}

Lengths tokens_argument(const Napi::Value& value, const std::string& name) {
  if (!value.IsArray()) fail(value.Env(), name, describe(value), "an array of integers");
  const Napi::Array array = value.As<Napi::Array>();
  const uint32_t requests = array.Length();
  if (requests < 1 || requests > kRequestsMax) {
    fail(value.Env(), name, std::to_string(requests) + " requests", range(1, kRequestsMax));
  }
  Lengths tokens(requests);
  uint64_t total = 0;
  for (uint32_t r = 0; r < requests; ++r) {
    const Napi::HandleScope scope(value.Env());
    const uint64_t length =
        integer_argument(array.Get(r), name + "[" + std::to_string(r) + "]", 0, kTotalTokensMax);
    total += length;
    if (total > kTotalTokensMax) {
      fail(value.Env(), name, "a sum above 4294967296", "a sum of at most 4294967296");
    }
    tokens[r] = static_cast<int64_t>(length);
  }
  return tokens;
}

// Leading tokens of each request that other requests write: (requests), whole records.
Lengths kept_argument(const Napi::Value& value, const std::string& name, const Lengths& tokens) {
  if (!value.IsArray()) fail(value.Env(), name, describe(value), "an array of integers");
  const Napi::Array array = value.As<Napi::Array>();
  if (array.Length() != tokens.size()) {
    fail(value.Env(), name, std::to_string(array.Length()) + " requests",
         std::to_string(tokens.size()) + " requests");
  }
  Lengths kept(tokens.size());
  for (uint32_t r = 0; r < kept.size(); ++r) {
    const Napi::HandleScope scope(value.Env());
    const std::string entry = name + "[" + std::to_string(r) + "]";
    const Napi::Value found = array.Get(r);
    kept[r] =
        static_cast<int64_t>(integer_argument(found, entry, 0, static_cast<uint64_t>(tokens[r])));
    if (kept[r] % KVP_RECORD_TOKENS != 0) {
      fail(value.Env(), entry, std::to_string(kept[r]), "a multiple of 128");
    }
  }
  return kept;
}

std::string choice_argument(const Napi::Value& value, const std::string& name,
                            std::initializer_list<const char*> choices) {
  const std::string chosen = string_argument(value, name);
  std::string required = "one of";
  for (const char* choice : choices) {
    if (chosen == choice) return chosen;
    required += std::string(" \"") + choice + "\"";
  }
  fail(value.Env(), name, describe(value), required);
}

Schedule schedule_argument(const Napi::Value& value) {
  const Napi::Object object = object_argument(value, "options.schedule");
  Schedule schedule;
  schedule.policy = choice_argument(object.Get("policy"), "options.schedule.policy",
                                    {"round-robin", "random", "starve", "pct"});
  schedule.copies =
      choice_argument(object.Get("copies"), "options.schedule.copies", {"eager", "lazy", "random"});
  schedule.seed = integer_argument(object.Get("seed"), "options.schedule.seed", 0, kSafeIntegerMax);
  const Napi::Value starved = object.Get("starvedWarp");
  if (!starved.IsUndefined()) {
    schedule.starved_warp = static_cast<uint32_t>(
        integer_argument(starved, "options.schedule.starvedWarp", 0, kUint32Max));
  }
  return schedule;
}

// A typed array of this type and nothing else, of exactly `elements` elements. A detached array has
// length 0.
template <typename T, napi_typedarray_type TYPE>
const T* array_pointer(const Napi::Value& value, const std::string& name, uint64_t elements,
                       const std::string& array) {
  const Napi::Env env = value.Env();
  const std::string required = "a " + array;
  if (!value.IsTypedArray()) fail(env, name, describe(value), required);
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  const napi_status status =
      napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr);
  if (status != napi_ok) fail(env, name, "an unreadable typed array", required);
  if (type != TYPE) fail(env, name, describe(value), required);
  if (length != elements || (length != 0 && data == nullptr)) {
    fail(env, name, std::to_string(length) + " elements",
         required + " of " + std::to_string(elements) + " elements");
  }
  return static_cast<const T*>(data);
}

// Words of 16 bits.
const uint16_t* word_pointer(const Napi::Value& value, const std::string& name, uint64_t elements) {
  return array_pointer<uint16_t, napi_uint16_array>(value, name, elements, "Uint16Array");
}

// (requests, page_table_stride): the entry of each record names a page of the pool.
const int32_t* page_table_pointer(const Napi::Value& value, const Problem& problem) {
  const std::string name = "inputs.pageTable";
  const uint64_t stride = problem.page_table_stride;
  const int32_t* table = array_pointer<int32_t, napi_int32_array>(
      value, name, problem.tokens.size() * stride, "Int32Array");
  for (size_t r = 0; r < problem.tokens.size(); ++r) {
    const auto records = static_cast<uint64_t>(problem.tokens[r]) / KVP_RECORD_TOKENS;
    for (uint64_t i = r * stride; i < r * stride + records; ++i) {
      if (table[i] >= 0 && static_cast<uint32_t>(table[i]) < problem.pool_pages) continue;
      fail(value.Env(), name + "[" + std::to_string(i) + "]", std::to_string(table[i]),
           "a page from 0 to " + std::to_string(problem.pool_pages) + " - 1");
    }
  }
  return table;
}

// How the cache is made: pages behind a table, tokens that come one a step.
void page_arguments(const Napi::Object& object, Problem* problem) {
  problem->page_table_stride = field32(object, "problem", "pageTableStride", 0, kPagesMax);
  problem->pool_pages = field32(object, "problem", "poolPages", 0, kPagesMax);
  if (!object.Get("firstPage").IsUndefined()) {
    const uint64_t left = kPagesMax - problem->pool_pages;
    problem->first_page = field32(object, "problem", "firstPage", 0, left);
  }
  problem->appended = field32(object, "problem", "appended", 0, kUint32Max);
  const Napi::Value kept = object.Get("kept");
  if (!kept.IsUndefined()) {
    problem->kept = kept_argument(kept, "problem.kept", problem->tokens);
  }
  const int64_t longest = *std::max_element(problem->tokens.begin(), problem->tokens.end());
  const auto records = static_cast<uint64_t>(longest) / KVP_RECORD_TOKENS;
  const uint64_t stride = problem->page_table_stride;
  if (stride > 0 && stride < records) {
    fail(object.Env(), "problem.pageTableStride", std::to_string(stride),
         "at least " + std::to_string(records) + ", the records of the longest request,");
  }
  if (stride == 0 && (problem->pool_pages > 0 || problem->first_page > 0 || problem->appended > 0 ||
                      !problem->kept.empty())) {
    fail(object.Env(), "problem.pageTableStride", "0",
         "a page table for poolPages, firstPage, appended and kept");
  }
}

}  // namespace

uint64_t integer_argument(const Napi::Value& value, const std::string& name, uint64_t min,
                          uint64_t max) {
  if (!value.IsNumber()) fail(value.Env(), name, describe(value), range(min, max));
  const double number = value.As<Napi::Number>().DoubleValue();
  // Written so that NaN fails.
  const bool inside = number >= static_cast<double>(min) && number <= static_cast<double>(max);
  if (!inside || number != std::floor(number)) {
    fail(value.Env(), name, describe(value), range(min, max));
  }
  return static_cast<uint64_t>(number);
}

std::string string_argument(const Napi::Value& value, const std::string& name) {
  if (!value.IsString()) fail(value.Env(), name, describe(value), "a string");
  const std::string text = value.As<Napi::String>().Utf8Value();
  if (text.empty() || text.size() > kStringBytesMax) {
    fail(value.Env(), name, describe(value), "a string of 1 to 65536 bytes");
  }
  // C would see the text up to there, and JavaScript all of it.
  if (text.find('\0') != std::string::npos) {
    fail(value.Env(), name, "a NUL character", "a string without NUL characters");
  }
  return text;
}

std::string path_argument(const Napi::Value& value, const std::string& name) {
  const std::string path = string_argument(value, name);
  if (path.front() != '/') fail(value.Env(), name, describe(value), "an absolute path");
  return path;
}

Problem problem_argument(const Napi::Value& value) {
  const Napi::Object object = object_argument(value, "problem");
  Problem problem;
  problem.format = string_argument(object.Get("format"), "problem.format");
  problem.k_axis = axis_argument(object.Get("kAxis"), "problem.kAxis");
  problem.bits = field32(object, "problem", "bits", 1, kUint32Max);
  problem.group = field32(object, "problem", "group", 1, kUint32Max);
  problem.query_heads = field32(object, "problem", "queryHeads", 1, kHeadsMax);
  problem.kv_heads = field32(object, "problem", "kvHeads", 1, kHeadsMax);
  problem.head_size = field32(object, "problem", "headSize", 1, kHeadSizeMax);
  problem.splits = field32(object, "problem", "splits", 0, kUint32Max);
  problem.softmax_scale = scale_argument(object.Get("softmaxScale"), "problem.softmaxScale");
  problem.tokens = tokens_argument(object.Get("tokens"), "problem.tokens");
  if (problem.query_heads % problem.kv_heads != 0) {
    fail(value.Env(), "problem.queryHeads", std::to_string(problem.query_heads),
         "a multiple of problem.kvHeads " + std::to_string(problem.kv_heads));
  }
  problem.query_tokens = field32(object, "problem", "queryTokens", 1, kQueryTokensMax);
  problem.type = type_argument(object.Get("type"), "problem.type");
  problem.input_padding = field32(object, "problem", "inputPadding", 0, kInputPaddingMax);
  page_arguments(object, &problem);
  return problem;
}

RunOptions options_argument(const Napi::Value& value) {
  const Napi::Object object = object_argument(value, "options");
  RunOptions options;
  options.poison = static_cast<uint8_t>(field32(object, "options", "poison", 0, 255));
  const Napi::Value schedule = object.Get("schedule");
  if (!schedule.IsUndefined()) options.schedule = schedule_argument(schedule);
  const Napi::Value dequantize = object.Get("dequantize");
  if (!dequantize.IsUndefined()) {
    options.dequantize = flag_argument(dequantize, "options.dequantize");
  }
  const Napi::Value own_stream = object.Get("ownStream");
  if (!own_stream.IsUndefined()) {
    options.own_stream = flag_argument(own_stream, "options.ownStream");
  }
  if (!object.Get("decodes").IsUndefined()) {
    options.decodes = field32(object, "options", "decodes", 1, 1000000);
  }
  return options;
}

TypedInputs::TypedInputs(const Napi::Value& value) {
  const Napi::Object object = object_argument(value, "inputs");
  q_ = object.Get("q");
  k_ = object.Get("k");
  v_ = object.Get("v");
  page_table_ = object.Get("pageTable");
}

Inputs TypedInputs::pointers(const Problem& problem) const {
  Inputs inputs;
  inputs.q = word_pointer(q_, "inputs.q", problem.query_elements());
  inputs.k = word_pointer(k_, "inputs.k", problem.kv_elements());
  inputs.v = word_pointer(v_, "inputs.v", problem.kv_elements());
  if (problem.page_table_stride > 0) inputs.page_table = page_table_pointer(page_table_, problem);
  return inputs;
}

}  // namespace kvproof
