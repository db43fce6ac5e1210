// library.cpp - opens a kernel library and checks its interface: symbol, version, every function.
#include "library.h"

#include <dlfcn.h>

#include <cstring>
#include <map>
#include <mutex>

#include "buffers.h"
#include "elf_image.h"

namespace kvproof {
namespace {

constexpr char kSymbol[] = "kvproof_kernel";
constexpr char kStreamSymbol[] = "kvproof_streams";

// A name or a JSON text longer than this is taken for a missing terminator.
constexpr size_t kTextBytesMax = 1u << 20;

std::string missing(const char* member) {
  return std::string(member) + " is null in the kernel table, a function is required";
}

std::string memory_error(const kvp_memory& memory) {
  if (memory.open == nullptr) return missing("memory.open");
  if (memory.allocate == nullptr) return missing("memory.allocate");
  if (memory.write == nullptr) return missing("memory.write");
  if (memory.read == nullptr) return missing("memory.read");
  if (memory.reset == nullptr) return missing("memory.reset");
  if (memory.synchronize == nullptr) return missing("memory.synchronize");
  return "";
}

std::string emulator_error(const kvp_emulator& emulator) {
  if (emulator.configure == nullptr) return missing("emulator.configure");
  if (emulator.report_count == nullptr) return missing("emulator.report_count");
  if (emulator.report == nullptr) return missing("emulator.report");
  if (emulator.schedule_hash == nullptr) return missing("emulator.schedule_hash");
  return "";
}

std::string text_error(const char* member, const char* text) {
  if (text == nullptr)
    return std::string(member) + " is null in the kernel table, a text is required";
  if (strnlen(text, kTextBytesMax) == kTextBytesMax) {
    return std::string(member) + " has no end within 1048576 bytes";
  }
  return "";
}

// The two leading members are the same in every version, so they are looked at before anything
// else.
std::string table_error(const kvp_kernel& table) {
  if (table.abi_version != KVPROOF_ABI_VERSION) {
    return "kernel ABI version " + std::to_string(table.abi_version) + " found, version " +
           std::to_string(KVPROOF_ABI_VERSION) + " is required";
  }
  if (table.struct_bytes < sizeof(kvp_kernel)) {
    return "kernel table of " + std::to_string(table.struct_bytes) + " bytes found, " +
           std::to_string(sizeof(kvp_kernel)) + " bytes are required";
  }
  std::string error = text_error("name", table.name);
  if (error.empty()) error = text_error("capabilities", table.capabilities);
  if (!error.empty()) return error;
  if (table.supports == nullptr) return missing("supports");
  if (table.sizes == nullptr) return missing("sizes");
  if (table.quantize == nullptr) return missing("quantize");
  if (table.decode == nullptr) return missing("decode");
  if (table.memory != nullptr) error = memory_error(*table.memory);
  if (error.empty() && table.emulator != nullptr) error = emulator_error(*table.emulator);
  return error;
}

// Streams are optional; a table of them is not optional in parts.
std::string stream_error(const kvp_streams* streams) {
  if (streams == nullptr) return "";
  if (streams->struct_bytes < sizeof(kvp_streams)) {
    return "stream table of " + std::to_string(streams->struct_bytes) + " bytes found, " +
           std::to_string(sizeof(kvp_streams)) + " bytes are required";
  }
  if (streams->open == nullptr) return missing("streams.open");
  if (streams->copy_later == nullptr) return missing("streams.copy_later");
  return "";
}

// A loader message may span lines; an error is one sentence.
std::string one_line(const char* text) {
  std::string line = text == nullptr ? "no reason given" : text;
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return line;
}

// memory.open() selects the device of the whole library, so while one handle is open, another with
// a different ordinal would move it. Which ordinal each library is bound to, and by how many
// handles.
struct Binding {
  uint32_t ordinal;
  uint32_t users;
};
std::mutex bindings_mutex;
std::map<const kvp_kernel*, Binding> bindings;

// Returns the ordinal that the library is bound to now: the one asked for, unless it is in use with
// another.
uint32_t bind(const kvp_kernel* table, uint32_t ordinal) {
  const std::lock_guard<std::mutex> lock(bindings_mutex);
  Binding& binding = bindings.emplace(table, Binding{ordinal, 0}).first->second;
  if (binding.users == 0) binding.ordinal = ordinal;
  if (binding.ordinal == ordinal) ++binding.users;
  return binding.ordinal;
}

void release(const kvp_kernel* table) {
  const std::lock_guard<std::mutex> lock(bindings_mutex);
  --bindings[table].users;
}

// A fixed-size field of the device description that may lack its terminator.
template <size_t N>
std::string bounded(const char (&field)[N]) {
  return std::string(field, strnlen(field, N));
}

}  // namespace

std::variant<std::shared_ptr<Library>, OpenError> Library::open(const std::string& path,
                                                                uint32_t ordinal, uint32_t sm) {
  const auto rejected = [&path](const std::string& why) {
    return OpenError{OpenError::Kind::library, path + ": " + why};
  };
  const std::string file_error = shared_library_error(path);
  if (!file_error.empty()) return rejected(file_error);

  // RTLD_NOW: a missing symbol is an error here, not a crash in the middle of a run. RTLD_LOCAL:
  // two kernel libraries with symbols of one name do not see each other.
  void* image = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (image == nullptr) return rejected("cannot be loaded: " + one_line(dlerror()));
  void* symbol = dlsym(image, kSymbol);
  if (symbol == nullptr) return rejected(std::string("exports no function ") + kSymbol + "()");
  const kvp_kernel* table = reinterpret_cast<const kvp_kernel* (*)(void)>(symbol)();
  if (table == nullptr) return rejected(std::string(kSymbol) + "() returned no kernel table");
  void* stream_symbol = dlsym(image, kStreamSymbol);
  const kvp_streams* streams =
      stream_symbol == nullptr ? nullptr
                               : reinterpret_cast<const kvp_streams* (*)(void)>(stream_symbol)();
  std::string error = table_error(*table);
  if (error.empty()) error = stream_error(streams);
  if (!error.empty()) return rejected(error);

  const uint32_t bound = bind(table, ordinal);
  if (bound != ordinal) {
    return rejected("device " + std::to_string(bound) + " is open in this process, so device " +
                    std::to_string(ordinal) + " needs a process of its own");
  }
  std::shared_ptr<Library> library(new Library(table, streams, sm));
  Answer answer = library->open_device(ordinal);
  if (answer.ok()) answer = library->configure(Schedule{});
  if (!answer.ok()) return OpenError{OpenError::Kind::device, path + ": " + answer.text};
  return library;
}

Library::Library(const kvp_kernel* table, const kvp_streams* streams, uint32_t sm)
    : table_(table),
      streams_(streams),
      memory_(table->memory == nullptr ? &host_memory() : table->memory),
      sm_(sm) {}

Library::~Library() { release(table_); }

Answer Library::open_device(uint32_t ordinal) {
  kvp_device device{};
  const Answer answer = ask("memory.open", [&](char* err, size_t err_bytes) {
    return memory_->open(ordinal, &device, err, err_bytes);
  });
  if (!answer.ok()) return answer;
  device_name_ = bounded(device.name);
  driver_ = bounded(device.driver);
  // An emulated kernel runs as the architecture that was asked for; a real device knows its own.
  if (!emulated() || sm_ == 0) sm_ = device.sm;
  return answer;
}

Answer Library::configure(const Schedule& schedule) const {
  if (!emulated()) return Answer{};
  kvp_schedule configured{};
  configured.struct_bytes = sizeof(kvp_schedule);
  configured.seed = schedule.seed;
  configured.policy = schedule.policy.c_str();
  configured.copies = schedule.copies.c_str();
  configured.starved_warp = schedule.starved_warp;
  configured.sm = sm_;
  return ask("emulator.configure", [&](char* err, size_t err_bytes) {
    return table_->emulator->configure(&configured, err, err_bytes);
  });
}

Answer Library::supports(const kvp_problem& problem) const {
  return ask("supports", [&](char* err, size_t err_bytes) {
    return table_->supports(&problem, err, err_bytes);
  });
}

}  // namespace kvproof
