// launch_bound.h - the threads that a kernel was compiled for, as DEV_KERNEL(threads) says them.
//
// On a GPU that number bounds the registers of a thread, and a launch with more threads is refused
// because a block would not find enough of them. Here it is needed at the launch, where only the
// kernel's address is known, and it may depend on a template parameter. So it is kept as bytes: the
// compiler puts `threads` one-byte nops in front of the kernel, which nothing executes, and the
// address of the first into a section of its own.
#pragma once
#include <stdint.h>

#define SIMT_LAUNCH_BOUND(threads) \
  __attribute__((patchable_function_entry(static_cast<int>(threads), static_cast<int>(threads))))

extern "C" {
// Made by the linker; null in a library without kernels.
extern const uintptr_t __start___patchable_function_entries[]
    __attribute__((weak, visibility("hidden")));
extern const uintptr_t __stop___patchable_function_entries[]
    __attribute__((weak, visibility("hidden")));
}

// Of a kernel of this library; 0 for a function that is none.
inline uint32_t simt_launch_bound(const void* kernel) {
  const auto entry = reinterpret_cast<uintptr_t>(kernel);
  uintptr_t first = entry;
  for (const uintptr_t* at = __start___patchable_function_entries;
       at != __stop___patchable_function_entries; at++) {
    if (*at < entry && (first == entry || *at > first)) first = *at;
  }
  // Another kernel's nops end with its code.
  for (uintptr_t at = first; at < entry; at++) {
    if (*reinterpret_cast<const uint8_t*>(at) != 0x90) return 0;
  }
  return static_cast<uint32_t>(entry - first);
}
