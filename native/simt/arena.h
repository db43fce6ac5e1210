// arena.h - the device's address space: shared memory of the block, then global allocations.
//
// One reservation, placed by the kernel of the operating system, so that several libraries can have
// theirs in one process. Pages outside of what is allocated cannot be touched; a stray access of
// the plain build faults and becomes a report (fault.h). What a byte of global memory holds (never
// written, initialised, redzone) is kept by intervals, each with the generation in which it was
// set, so that marking a buffer costs nothing for each of its words; shadow.h looks an interval up
// when it meets a word for the first time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace simt {

constexpr uint64_t kStaticBytes = 512 * 1024;   // static shared memory lies below this offset
constexpr uint64_t kStaticGap = 4096;           // and at least this between two variables
constexpr uint64_t kSharedBytes = 1024 * 1024;  // end of shared memory, 1 KiB aligned
constexpr uint64_t kRedzoneBytes = 4096;        // between global allocations
constexpr uint64_t kAllocationAlign = 256;      // as cudaMalloc

extern char* arena;          // first byte; shared memory begins here
extern uint64_t arena_span;  // bytes reserved; 0 before arena_open()

enum class Region : uint8_t { unallocated, unwritten, initialised, redzone };

struct Interval {
  uint64_t begin, end;  // offsets into the arena
  Region region;
  uint32_t generation;  // cells older than this know nothing
};

// Reserves the address space once. Returns an error text, or empty.
std::string arena_open();

// Offset-checked views of an address.
inline uint64_t arena_offset(uint64_t address) {
  return address - reinterpret_cast<uint64_t>(arena);
}
inline bool in_arena(uint64_t address) { return arena_offset(address) < arena_span; }
inline bool in_shared(uint64_t address) { return arena_offset(address) < kSharedBytes; }

inline char* dynamic_shared() { return arena + kStaticBytes; }

// Global memory, every byte 0xff; null when there is none left.
void* arena_allocate(uint64_t bytes, const char* name);
void arena_reset();
// Sets what a range of allocated global memory holds. Returns false if it is not all allocated.
bool arena_mark(uint64_t address, uint64_t bytes, Region region);
// True if the range lies in one allocation.
bool arena_contains(uint64_t address, uint64_t bytes);
// The interval of an offset; for unallocated memory one that ends at the next allocation.
const Interval& arena_interval(uint64_t offset);

// How many of the bytes are neither allocated global nor shared memory of the running block.
uint64_t outside_bytes(uint64_t address, uint64_t bytes);

// "buffer 'cache' +16992 (size 191488)", "dynamic shared +64 (size 104448)", ...
std::string describe_address(uint64_t address);

}  // namespace simt
