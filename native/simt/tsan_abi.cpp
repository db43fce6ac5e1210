// tsan_abi.cpp - the calls that an instrumented kernel makes for every load and store.
//
// Kernels of the checked build are compiled with -fsanitize=thread, but libtsan is not linked:
// these are our own definitions of the interface. Accesses to device memory go to shadow.h. A
// kernel may also use its own stack, its arguments and constants of its library; any other host
// memory is an illegal address on a GPU and reported. -fsanitize=alignment calls
// __ubsan_handle_type_mismatch_v1 for an address that its type's alignment forbids; the hardware
// faults there, this processor would not. -fsanitize=bounds calls __ubsan_handle_out_of_bounds for
// an index past an array of known length: those that live in registers have no memory to look at.
// device_checked.h sends memcpy and its like to the functions at the end.
#include <algorithm>
#include <cstring>

#include "arena.h"
#include "report.h"
#include "shadow.h"
#include "shadow_access.h"
#include "shadow_quiet.h"
#include "symbol.h"

namespace simt {
namespace {

SIMT_COLD void host_access(uint64_t address, uint64_t size, uint64_t pc, bool write) {
  const auto inside = [&](uint64_t low, uint64_t high) {
    return address >= low && address + size <= high;
  };
  const uint32_t id = current->id;
  if (inside(reinterpret_cast<uint64_t>(stack_low(id)),
             reinterpret_cast<uint64_t>(stack_high(id)))) {
    return;
  }
  const auto arguments = reinterpret_cast<uint64_t>(machine.argument);
  if (inside(arguments, arguments + machine.argument_bytes)) return;
  if (!write && in_library(address)) return;
  const Place here = Place::code(pc);
  if (report_again("out of bounds", here)) return;
  report("out of bounds", here,
         format("%s %s %llu bytes of host memory at 0x%llx", describe_current().c_str(),
                write ? "writes" : "reads", static_cast<unsigned long long>(size),
                static_cast<unsigned long long>(address)));
}

template <bool write>
__attribute__((noinline)) void access(void* p, uint64_t size, uint64_t pc) {
  const auto address = reinterpret_cast<uint64_t>(p);
  if (SIMT_UNLIKELY(!running_fiber())) return;  // host code of an instrumented file
  if (SIMT_LIKELY(in_arena(address))) {
    if constexpr (write) {
      shadow_write(address, static_cast<uint32_t>(size), pc);
    } else {
      shadow_read(address, static_cast<uint32_t>(size), pc);
    }
  } else if (size != 0) {
    const auto low = reinterpret_cast<uint64_t>(stack_low(current->id));
    if (SIMT_UNLIKELY(address - low >= kStackBytes)) host_access(address, size, pc, write);
  }
}

template <bool write, uint32_t size>
inline __attribute__((always_inline)) bool access_quietly(const Thread& thread, uint64_t offset,
                                                          uint32_t place) {
  const uint32_t shift = offset & 3;
  if (shift + std::min(size, 4u) > 4) return false;
  const uint64_t bytes = (size < 4 ? (1u << size) - 1 : kAllBytes) << shift;
  const uint64_t mine = thread.warp->stamp + (write ? pack(0, thread.lane, 0) : 0);
  Cell* const word = &cells[offset / 4];
#pragma GCC unroll 4
  for (uint32_t i = 0; i < (size + 3) / 4; i++) {
    const bool quiet =
        write ? write_quietly(word[i], mine, bytes, place, thread.ordered_write)
              : read_quietly(word[i], mine, bytes, 1u << thread.lane, place, thread.ordered_write);
    if (SIMT_UNLIKELY(!quiet)) return false;
  }
  return true;
}

// The same for a size that is known. Every access of an instrumented kernel comes here.
template <bool write, uint32_t size>
inline __attribute__((always_inline)) void access_sized(void* p, uint64_t pc) {
  const uint64_t offset = arena_offset(reinterpret_cast<uint64_t>(p));
  if (SIMT_LIKELY(running_fiber() && offset < arena_span) &&
      SIMT_LIKELY((access_quietly<write, size>(*current, offset, pack_code(pc))))) {
    return;
  }
  access<write>(p, size, pc);
}

}  // namespace
}  // namespace simt

#define SIMT_PC reinterpret_cast<uint64_t>(__builtin_return_address(0))
#define SIMT_HOOK(name, size)                                                                \
  void __tsan_read##name(void* p) { simt::access_sized<false, size>(p, SIMT_PC); }           \
  void __tsan_write##name(void* p) { simt::access_sized<true, size>(p, SIMT_PC); }           \
  void __tsan_unaligned_read##name(void* p) { simt::access_sized<false, size>(p, SIMT_PC); } \
  void __tsan_unaligned_write##name(void* p) { simt::access_sized<true, size>(p, SIMT_PC); }

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
SIMT_HOOK(1, 1)
SIMT_HOOK(2, 2)
SIMT_HOOK(4, 4)
SIMT_HOOK(8, 8)
SIMT_HOOK(16, 16)
void __tsan_read_range(void* p, unsigned long size) { simt::access<false>(p, size, SIMT_PC); }
void __tsan_write_range(void* p, unsigned long size) { simt::access<true>(p, size, SIMT_PC); }
void __tsan_vptr_update(void** p, void*) { simt::access<true>(p, sizeof *p, SIMT_PC); }
void __tsan_vptr_read(void** p) { simt::access<false>(p, sizeof *p, SIMT_PC); }

// As compiler-rt and libubsan lay it out.
struct UbsanLocation {
  const char* file;
  uint32_t line, column;
};
struct UbsanTypeMismatch {
  UbsanLocation at;
  const void* type;
  unsigned char log_alignment, check_kind;
};

void __ubsan_handle_type_mismatch_v1(UbsanTypeMismatch* mismatch, uintptr_t address) {
  using namespace simt;
  if (!running_fiber()) return;
  const simt_site at = simt_here(mismatch->at.file, mismatch->at.line);
  if (report_again("misaligned access", Place::of(at))) return;
  report(
      "misaligned access", at,
      format("%s accesses %s, an address that must be a multiple of %u", describe_current().c_str(),
             describe_address(address).c_str(), 1u << mismatch->log_alignment));
}

struct UbsanType {
  uint16_t kind, info;
  char name[1];
};
struct UbsanIndex {
  UbsanLocation at;
  const UbsanType *array, *index;
};

void __ubsan_handle_out_of_bounds(UbsanIndex* beyond, uintptr_t index) {
  using namespace simt;
  if (!running_fiber()) return;
  const simt_site at = simt_here(beyond->at.file, beyond->at.line);
  if (report_again("out of bounds", Place::of(at))) return;
  report("out of bounds", at,
         format("%s uses index %lld of %s, which ends before it", describe_current().c_str(),
                static_cast<long long>(index), beyond->array->name));
}

void* simt_memcpy(void* to, const void* from, size_t size) {
  simt::access<false>(const_cast<void*>(from), size, SIMT_PC);
  simt::access<true>(to, size, SIMT_PC);
  return std::memcpy(to, from, size);
}
void* simt_memmove(void* to, const void* from, size_t size) {
  simt::access<false>(const_cast<void*>(from), size, SIMT_PC);
  simt::access<true>(to, size, SIMT_PC);
  return std::memmove(to, from, size);
}
void* simt_memset(void* to, int value, size_t size) {
  simt::access<true>(to, size, SIMT_PC);
  return std::memset(to, value, size);
}

}  // extern "C"
