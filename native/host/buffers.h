// buffers.h - kernel buffers between redzones, and what happened to them.
//
// Every buffer is one allocation: 4096 bytes of redzone, the data, 4096 bytes of redzone. The
// redzones hold a pattern that depends on the position and on the run's poison byte, so a write
// that lands there is seen afterwards, and a read from there makes two runs with different poison
// differ. Data is either an input (compared after the run) or poison that the kernel has to
// overwrite. For an emulated kernel the regions are marked as well, so that the emulator reports
// the access itself, with its source line.
//
// A stray write further than 4096 bytes away, or one that repeats the byte already there, is not
// seen here.
#ifndef KVPROOF_HOST_BUFFERS_H
#define KVPROOF_HOST_BUFFERS_H

#include <cstdint>
#include <string>
#include <vector>

#include "library.h"

namespace kvproof {

// A multiple of the 256-byte alignment of allocations, so that the data is aligned as the ABI
// promises.
constexpr uint64_t kRedzoneBytes = 4096;

// Memory of this process, for kernels that take host pointers. Allocations belong to the calling
// thread.
const kvp_memory& host_memory();

struct Violation {
  enum class Kind { redzone, input_changed, unwritten };
  std::string buffer;
  Kind kind;
  int64_t offset;  // of the first such byte from the start of the buffer; negative before it
  uint64_t count;  // bytes
};

// Bytes of an input that no kernel may read: between strided rows, behind a request's pages.
struct Gap {
  uint64_t first;
  uint64_t bytes;
};

// What an element of poison alone would be.
enum class Element { fp16, bf16, fp32 };

// Frees every allocation of a run when the run ends, however it ends.
class MemoryScope {
 public:
  explicit MemoryScope(const kvp_memory& memory) : memory_(memory) {}
  ~MemoryScope() { memory_.reset(); }
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

 private:
  const kvp_memory& memory_;
};

class GuardedBuffer {
 public:
  // Allocates `bytes` of data and fills them from `initial`, or with poison if `initial` is null.
  // skipped: bytes before the data that are allocated and never touched, a redzone to an emulator;
  // device() points to them, data() behind them.
  Answer allocate(const kvp_memory& memory, const char* name, uint64_t bytes, const void* initial,
                  uint8_t poison, uint64_t skipped = 0);
  // For kernels that track their memory: reading the gaps is a bug from now on.
  void forbid(const std::vector<Gap>& gaps) const;

  // The data becomes poison until arrive_later() has put it back on a stream, after a delay.
  Answer hide();
  Answer arrive_later(const kvp_streams& streams, void* stream, uint32_t delay_ms) const;

  // Null before allocate().
  template <typename T>
  T* device() const {
    if (block_ == nullptr) return nullptr;
    return reinterpret_cast<T*>(block_ - skipped_ + kRedzoneBytes);
  }

  // Fetches the buffer and appends what differs from what was there: bytes of the redzones, and
  // bytes of the data if nobody was allowed to write them.
  Answer inspect(std::vector<Violation>* violations);

  // inspect(), after which the data counts as an input: the output of one kernel that the next one
  // reads.
  Answer freeze(std::vector<Violation>* violations);

  // Appends elements that still hold nothing but poison. Only where that can be told: poison whose
  // pattern is a NaN of the element type. Any other pattern may be a right result; then two runs
  // with different poison tell, and that is the caller's business.
  void find_unwritten(Element element, std::vector<Violation>* violations) const;

  // The data as inspect() or freeze() fetched it last.
  const uint8_t* data() const { return after_.data() + kRedzoneBytes; }
  uint64_t bytes() const { return bytes_; }

 private:
  void compare(uint64_t begin, uint64_t end, Violation::Kind kind,
               std::vector<Violation>* violations) const;

  const kvp_memory* memory_ = nullptr;
  std::string name_;
  uint8_t* block_ = nullptr;  // device pointer, (redzone, data, redzone)
  void* hidden_ = nullptr;    // device pointer, the data of hide()
  uint64_t skipped_ = 0;      // bytes before the block
  uint64_t bytes_ = 0;        // of the data
  uint8_t poison_ = 0;
  bool input_ = false;           // the kernels of this run must leave the data as it is
  std::vector<uint8_t> before_;  // the block as it was filled
  std::vector<uint8_t> after_;   // the block as it was fetched
};

}  // namespace kvproof

#endif
