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
#include <cstring>

#include "arena.h"
#include "machine.h"
#include "report.h"
#include "shadow.h"
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
inline void access(void* p, uint64_t size, uint64_t pc) {
  const auto address = reinterpret_cast<uint64_t>(p);
  if (SIMT_UNLIKELY(!running_fiber())) return;  // host code of an instrumented file
  if (SIMT_LIKELY(in_arena(address))) {
    machine.counters.accesses++;
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

}  // namespace
}  // namespace simt

#define SIMT_PC reinterpret_cast<uint64_t>(__builtin_return_address(0))
#define SIMT_HOOK(name, size)                                                          \
  void __tsan_read##name(void* p) { simt::access<false>(p, size, SIMT_PC); }           \
  void __tsan_write##name(void* p) { simt::access<true>(p, size, SIMT_PC); }           \
  void __tsan_unaligned_read##name(void* p) { simt::access<false>(p, size, SIMT_PC); } \
  void __tsan_unaligned_write##name(void* p) { simt::access<true>(p, size, SIMT_PC); }

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
