// check.h - the few lines that the native tests of mma and simt share.
//
// A test is a plain executable: one line for each claim ("ok" or "FAIL" first), the totals last,
// exit code 1 if any claim failed. There is no mock and no fixture.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>

namespace check {

inline int passed = 0, failed = 0;

inline bool claim(bool holds, const char* text) {
  std::printf("%s %s\n", holds ? "ok  " : "FAIL", text);
  (holds ? passed : failed)++;
  return holds;
}

// The same, with what was seen if it does not hold.
__attribute__((format(printf, 3, 4))) inline bool claim(bool holds, const char* text,
                                                        const char* seen, ...) {
  std::printf("%s %s", holds ? "ok  " : "FAIL", text);
  if (!holds) {
    std::printf(": ");
    va_list values;
    va_start(values, seen);
    std::vprintf(seen, values);
    va_end(values);
  }
  std::printf("\n");
  (holds ? passed : failed)++;
  return holds;
}

inline int finish() {
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

// splitmix64: every draw of a test descends from its seed.
struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed) {}
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  uint32_t bits() { return static_cast<uint32_t>(next() >> 32); }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 32) * n >> 32); }
};

}  // namespace check
