// library.h - one kernel library, loaded through kernel_abi.h.
//
// open() loads the file, checks the table that it exports (version, size, every function that the
// interface requires) and opens the device. What fails is reported as one sentence that starts with
// the path. A library is never unloaded: CUDA, OpenMP and PyTorch leave threads and exit handlers
// that point into it, and a process opens a handful at most.
#ifndef KVPROOF_HOST_LIBRARY_H
#define KVPROOF_HOST_LIBRARY_H

#include <memory>
#include <string>
#include <variant>

#include "../plugin/stream_abi.h"
#include "problem.h"

namespace kvproof {

// What a kernel said about a call: its status and its sentence (empty if the status is KVP_OK).
struct Answer {
  kvp_status status = KVP_OK;
  std::string text;
  bool wordless = false;  // it failed and gave no reason; text is ours
  bool ok() const { return status == KVP_OK; }
};

// Calls a kernel function with room for its error text, and makes the text safe: terminated, and
// never empty for a failure. `name` is for the report of a failure without a text.
template <typename Call>
Answer ask(const char* name, const Call& call) {
  char text[1024] = {};
  Answer answer;
  answer.status = call(text, sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  if (answer.ok()) return answer;
  answer.text = text;
  answer.wordless = answer.text.empty();
  if (answer.wordless) {
    answer.text = std::string(name) + ": returned status " +
                  std::to_string(static_cast<int>(answer.status)) + " without a message";
  }
  return answer;
}

struct OpenError {
  enum class Kind { library, device };  // the file is no kernel library / its device did not open
  Kind kind;
  std::string text;
};

class Library {
 public:
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  // `path` is absolute. `sm` picks the architecture of an emulated kernel (80, 89, 90) and is
  // ignored by the others; 0 leaves the choice to the kernel.
  static std::variant<std::shared_ptr<Library>, OpenError> open(const std::string& path,
                                                                uint32_t ordinal, uint32_t sm);

  const kvp_kernel& table() const { return *table_; }
  // The kernel's own memory, or host memory for a kernel that takes host pointers.
  const kvp_memory& memory() const { return *memory_; }
  bool emulated() const { return table_->emulator != nullptr; }
  // Null for a library that exports none.
  const kvp_streams* streams() const { return streams_; }
  const std::string& device_name() const { return device_name_; }
  const std::string& driver() const { return driver_; }
  uint32_t sm() const { return sm_; }

  // Prepares an emulated kernel: architecture, schedule, an empty list of reports.
  Answer configure(const Schedule& schedule) const;
  // The kernel's own decision; KVP_OK means that it implements the problem.
  Answer supports(const kvp_problem& problem) const;

 private:
  Library(const kvp_kernel* table, const kvp_streams* streams, uint32_t sm);
  Answer open_device(uint32_t ordinal);

  const kvp_kernel* table_;
  const kvp_streams* streams_;
  const kvp_memory* memory_;
  std::string device_name_;
  std::string driver_;
  uint32_t sm_;
};

}  // namespace kvproof

#endif
