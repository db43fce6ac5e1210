// addon.cpp - the JavaScript surface of the host: glue only.
//
//   open(path, {ordinal, sm})              -> {kind: 'opened', handle}, or
//                                             {kind: 'no-device' | 'no-library', message}
//   describe(handle)                       -> {name, capabilities, device, append, dequantize,
//                                              emulated, checked}
//   supports(handle, problem)              -> null, or the kernel's reason
//   unrefused(handle, problem)             -> [{call, fault, found, required}], see refusal.h
//   run(handle, problem, inputs, options)  -> {kind, ...}, see run.h
//   bench(handle, path, request)           -> {kind, ...}, see bench.h
//   twin(handle, path, request)            -> {kind, ...}, see twin.h
//   close(handle)
//
// A handle is a number, since a number cannot be forged into a pointer. Wrong arguments throw an
// Error with one sentence and touch nothing; what a kernel does is a value, never an exception.
// Everything is synchronous: it runs in a child process that has nothing else to do. Typed in
// fuzz/kernels/native.ts.
#include <napi.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "arguments.h"
#include "bench.h"
#include "library.h"
#include "refusal.h"
#include "run.h"
#include "twin.h"

namespace kvproof {
namespace {

// The open libraries of one JavaScript environment.
struct Handles {
  std::map<uint32_t, std::shared_ptr<Library>> open;
  uint32_t next = 1;
};

// A copy of the pointer: a hostile getter may close the handle while its library is in use.
std::shared_ptr<Library> library_argument(const Napi::CallbackInfo& info) {
  const auto handle = static_cast<uint32_t>(integer_argument(info[0], "handle", 1, 0xFFFFFFFFu));
  const Handles& handles = *info.Env().GetInstanceData<Handles>();
  const auto found = handles.open.find(handle);
  if (found == handles.open.end()) {
    throw Napi::Error::New(info.Env(), "handle: " + std::to_string(handle) + " is not open");
  }
  return found->second;
}

template <typename T>
Napi::TypedArrayOf<T> typed_array(Napi::Env env, const std::vector<uint8_t>& bytes) {
  auto array = Napi::TypedArrayOf<T>::New(env, bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(array.Data(), bytes.data(), bytes.size());
  return array;
}

const char* violation_kind(Violation::Kind kind) {
  switch (kind) {
    case Violation::Kind::redzone:
      return "redzone";
    case Violation::Kind::input_changed:
      return "input-changed";
    case Violation::Kind::unwritten:
      return "unwritten";
  }
  return "";
}

const char* outcome_kind(RunOutcome::Kind kind) {
  switch (kind) {
    case RunOutcome::Kind::ran:
      return "ran";
    case RunOutcome::Kind::unsupported:
      return "unsupported";
    case RunOutcome::Kind::refused:
      return "refused";
    case RunOutcome::Kind::device_error:
      return "device-error";
  }
  return "";
}

Napi::Array violations_value(Napi::Env env, const std::vector<Violation>& violations) {
  Napi::Array array = Napi::Array::New(env, violations.size());
  for (size_t i = 0; i < violations.size(); ++i) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("buffer", violations[i].buffer);
    entry.Set("kind", violation_kind(violations[i].kind));
    entry.Set("offset", static_cast<double>(violations[i].offset));
    entry.Set("count", static_cast<double>(violations[i].count));
    array.Set(static_cast<uint32_t>(i), entry);
  }
  return array;
}

Napi::Array reports_value(Napi::Env env, const std::vector<Report>& reports) {
  Napi::Array array = Napi::Array::New(env, reports.size());
  for (size_t i = 0; i < reports.size(); ++i) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("kind", reports[i].kind);
    entry.Set("text", reports[i].text);
    entry.Set("file", reports[i].file);
    entry.Set("line", static_cast<double>(reports[i].line));
    entry.Set("count", static_cast<double>(reports[i].count));
    array.Set(static_cast<uint32_t>(i), entry);
  }
  return array;
}

std::string hex16(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

Napi::Value outcome_value(Napi::Env env, const RunOutcome& outcome) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("kind", outcome_kind(outcome.kind));
  object.Set("violations", violations_value(env, outcome.violations));
  object.Set("reports", reports_value(env, outcome.reports));
  if (outcome.kind != RunOutcome::Kind::ran) {
    object.Set("reason", outcome.reason);
    return object;
  }
  object.Set("cache", typed_array<uint8_t>(env, outcome.cache));
  object.Set("kResidual", typed_array<uint16_t>(env, outcome.k_residual));
  object.Set("vResidual", typed_array<uint16_t>(env, outcome.v_residual));
  object.Set("output", typed_array<uint16_t>(env, outcome.output));
  object.Set("lse", typed_array<float>(env, outcome.lse));
  if (outcome.dequantized) {
    object.Set("kValues", typed_array<uint16_t>(env, outcome.k_values));
    object.Set("vValues", typed_array<uint16_t>(env, outcome.v_values));
  }
  object.Set("scheduleHash", hex16(outcome.schedule_hash));
  object.Set("splits", outcome.splits);
  object.Set("pages", outcome.pages);
  if (outcome.timed) object.Set("decodeSeconds", outcome.decode_seconds);
  return object;
}

Napi::Value open(const Napi::CallbackInfo& info) {
  const std::string path = path_argument(info[0], "path");
  if (!info[1].IsObject()) {
    throw Napi::TypeError::New(info.Env(), "options: an object with ordinal and sm is required");
  }
  const Napi::Object options = info[1].As<Napi::Object>();
  const auto ordinal =
      static_cast<uint32_t>(integer_argument(options.Get("ordinal"), "options.ordinal", 0, 1023));
  const auto sm = static_cast<uint32_t>(integer_argument(options.Get("sm"), "options.sm", 0, 999));

  Napi::Object result = Napi::Object::New(info.Env());
  auto opened = Library::open(path, ordinal, sm);
  if (const OpenError* error = std::get_if<OpenError>(&opened)) {
    result.Set("kind", error->kind == OpenError::Kind::device ? "no-device" : "no-library");
    result.Set("message", error->text);
    return result;
  }
  Handles& handles = *info.Env().GetInstanceData<Handles>();
  const uint32_t handle = handles.next++;
  handles.open.emplace(handle, std::get<std::shared_ptr<Library>>(opened));
  result.Set("kind", "opened");
  result.Set("handle", static_cast<double>(handle));
  return result;
}

Napi::Value describe(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Library> library = library_argument(info);
  Napi::Object device = Napi::Object::New(info.Env());
  device.Set("name", library->device_name());
  device.Set("driver", library->driver());
  device.Set("sm", static_cast<double>(library->sm()));
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("name", library->table().name);
  result.Set("capabilities", library->table().capabilities);
  result.Set("device", device);
  result.Set("append", library->table().append != nullptr);
  result.Set("dequantize", library->table().dequantize != nullptr);
  result.Set("streams", library->streams() != nullptr);
  result.Set("emulated", library->emulated());
  result.Set("checked", library->emulated() && library->table().emulator->checked != 0);
  return result;
}

Napi::Value supports(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Library> library = library_argument(info);
  const Problem problem = problem_argument(info[1]);
  // Two architectures of one emulator library may be open: the one that is asked decides.
  Answer answer = library->configure(Schedule{});
  if (answer.ok()) answer = library->supports(problem.view());
  if (answer.ok()) return info.Env().Null();
  return Napi::String::New(info.Env(), answer.text);
}

Napi::Value unrefused_faults(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Library> library = library_argument(info);
  const Problem problem = problem_argument(info[1]);
  const Answer answer = library->configure(Schedule{});
  if (!answer.ok()) throw Napi::Error::New(info.Env(), answer.text);
  const std::vector<Unrefused> found = unrefused(*library, problem);
  Napi::Array array = Napi::Array::New(info.Env(), found.size());
  for (size_t i = 0; i < found.size(); ++i) {
    Napi::Object entry = Napi::Object::New(info.Env());
    entry.Set("call", found[i].call);
    entry.Set("fault", found[i].fault);
    entry.Set("found", found[i].found);
    entry.Set("required", found[i].required);
    array.Set(static_cast<uint32_t>(i), entry);
  }
  return array;
}

Napi::Value run_kernel(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Library> library = library_argument(info);
  const Problem problem = problem_argument(info[1]);
  const TypedInputs inputs(info[2]);
  const RunOptions options = options_argument(info[3]);
  // From here to the end of run() no JavaScript executes, so the pointers stay valid.
  return outcome_value(info.Env(), run(*library, problem, inputs.pointers(problem), options));
}

Napi::Value bench(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Library> library = library_argument(info);
  return call_bench(*library, path_argument(info[1], "path"), info[2]);
}

Napi::Value twin(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Library> library = library_argument(info);
  return call_twin(*library, path_argument(info[1], "path"), info[2]);
}

Napi::Value close(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Library> library = library_argument(info);
  Handles& handles = *info.Env().GetInstanceData<Handles>();
  handles.open.erase(info[0].As<Napi::Number>().Uint32Value());
  return info.Env().Undefined();
}

// What C++ may throw on the way (no memory for a copy, a length beyond what a string can hold)
// becomes a JavaScript Error; Napi::Error, the result of a wrong argument, passes through.
template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return Function(info);
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Napi::Error::New(info.Env(), std::string("native host: ") + error.what());
  }
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Handles());
  exports.Set("open", Napi::Function::New<guarded<open>>(env, "open"));
  exports.Set("describe", Napi::Function::New<guarded<describe>>(env, "describe"));
  exports.Set("supports", Napi::Function::New<guarded<supports>>(env, "supports"));
  exports.Set("unrefused", Napi::Function::New<guarded<unrefused_faults>>(env, "unrefused"));
  exports.Set("run", Napi::Function::New<guarded<run_kernel>>(env, "run"));
  exports.Set("bench", Napi::Function::New<guarded<bench>>(env, "bench"));
  exports.Set("twin", Napi::Function::New<guarded<twin>>(env, "twin"));
  exports.Set("close", Napi::Function::New<guarded<close>>(env, "close"));
  return exports;
}

}  // namespace
}  // namespace kvproof

static Napi::Object kvproof_initialize(Napi::Env env, Napi::Object exports) {
  return kvproof::initialize(env, exports);
}

NODE_API_MODULE(kvproof, kvproof_initialize)
