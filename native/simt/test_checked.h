// test_checked.h - a wrong kernel and its right twin, on every schedule of the checked build.
//
// The test files that include this hold kernels and are instrumented as a kernel library is; what
// needs the standard library is in test_checked.cpp, which is not: the linker would keep one copy
// of its templates for both, and the emulator would see its own accesses.
//
// A kernel says in its own source what is expected: the line that a report must name has the word
// "reported" in a comment, that of the other party "other party".
#pragma once
#include "device.h"

namespace test {

// Both launch on a fresh device; under every schedule the first must be reported as `kind`, besides
// kinds that are named in `also`, and the second must not be reported at all.
void twins(const char* what, const char* kind, void (*wrong)(), void (*right)(),
           const char* also = "", const char* path = __builtin_FILE());
// A launch that must be reported in the same way under every schedule, without a twin.
void always(const char* what, const char* kind, void (*wrong)(), const char* also = "",
            const char* path = __builtin_FILE());

// Device memory: never written, or 0, 1, 2, ... A redzone may be put on words [from, to).
uint32_t* words(uint32_t count, const char* name);
uint32_t* counting(uint32_t count, const char* name);
uint32_t* zeros(uint32_t count, const char* name);
void redzone(uint32_t* p, uint32_t words);

// The totals; what main returns.
int finish();

inline dev::Launch shape(uint32_t threads, uint32_t blocks = 1, uint32_t smem_bytes = 0) {
  dev::Launch launch;
  launch.grid.x = blocks;
  launch.threads = threads;
  launch.smem_bytes = smem_bytes;
  return launch;
}

}  // namespace test

// twins() of the launches of kernel<false>, the wrong one, and kernel<true>.
#define TWINS(what, kind, kernel, shape, ...)                             \
  test::twins(                                                            \
      what, kind, [] { dev::launch(kernel<false>, shape, __VA_ARGS__); }, \
      [] { dev::launch(kernel<true>, shape, __VA_ARGS__); })
