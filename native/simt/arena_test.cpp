// arena_test.cpp - plain build: memory of the device is all ones until it is written, whatever its
// size, and a pool of gigabytes costs the pages that are touched.
#include <sys/resource.h>

#include "arena.h"
#include "test_device.h"

namespace {

using check::claim;

constexpr uint64_t kPool = 4ull << 30;
constexpr uint64_t kPlaces[] = {0, 1, 4095, 4096, 4ull << 20, kPool / 2, kPool - 4097, kPool - 1};

long resident_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

uint8_t* pool() {
  test::start();
  test::allocate<uint8_t>(1000, "before");  // so that the pool begins within a page
  return test::allocate<uint8_t>(kPool, "pool");
}

bool all_ones(const uint8_t* p) {
  bool ones = true;
  for (const uint64_t place : kPlaces) ones = ones && p[place] == 0xff;
  return ones;
}

void large_pool() {
  const long before = resident_kilobytes();
  uint8_t* p = pool();
  claim(p != nullptr && all_ones(p), "every byte of a large buffer is 0xff");
  for (const uint64_t place : kPlaces) p[place] = 1;
  bool own = true;
  for (const uint64_t place : {2ull, 8ull << 20, 4097ull + (4ull << 20)}) {
    own = own && p[place] == 0xff;
  }
  claim(own && p[0] == 1 && p[kPool - 1] == 1, "what is written is written there alone");
  claim(all_ones(pool()), "the next case's buffer is 0xff again");
  claim(resident_kilobytes() - before < 64 * 1024, "a pool of 4 GiB takes less than 64 MiB");
}

// Marks in any order leave each byte what was said of it last.
void marks() {
  test::start();
  constexpr uint64_t kBytes = 512;
  uint8_t* p = test::allocate<uint8_t>(kBytes, "marked");
  std::vector<simt::Region> want(kBytes, simt::Region::unwritten);
  bool equal = true;
  uint32_t state = 1;
  const auto draw = [&](uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % n;
  };
  for (int turn = 0; turn < 2000; turn++) {
    const uint64_t begin = draw(kBytes), bytes = 1 + draw(turn % 2 == 0 ? 4 : kBytes);
    if (begin + bytes > kBytes) continue;
    const auto region = static_cast<simt::Region>(1 + draw(3));
    simt::arena_mark(reinterpret_cast<uint64_t>(p) + begin, bytes, region);
    for (uint64_t i = begin; i < begin + bytes; i++) want[i] = region;
    const uint64_t offset = simt::arena_offset(reinterpret_cast<uint64_t>(p));
    for (uint64_t i = 0; i < kBytes; i++) {
      const simt::Interval& found = simt::arena_interval(offset + i);
      equal =
          equal && found.region == want[i] && found.begin <= offset + i && offset + i < found.end;
    }
  }
  claim(equal, "marks in any order");
}

}  // namespace

int main() {
  large_pool();
  marks();
  return check::finish();
}
