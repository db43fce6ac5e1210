// arena.cpp - see arena.h.
#include "arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "machine.h"
#include "report.h"
#include "shadow.h"

namespace simt {

char* arena = nullptr;
uint64_t arena_span = 0;

namespace {

constexpr uint64_t kSpanMax = 16ull << 30, kSpanMin = 64ull << 20;
constexpr uint64_t kCommitUnit = 4ull << 20;  // pages become usable in steps of this
constexpr uint64_t kKept = 64ull << 20;       // as many stay usable from one case to the next
constexpr uint64_t kPattern = 4ull << 20, kPage = 4096;
constexpr int kNeverWritten = 0xff;  // NaN in every floating-point type

struct Allocation {
  uint64_t offset, bytes;
  std::string name;
};

uint64_t committed = 0;  // bytes that can be touched
uint64_t top = kSharedBytes;
std::vector<Allocation> allocations;  // ascending offsets
std::vector<Interval> intervals;      // ascending, without overlap; gaps are unallocated
Interval gap;                         // what arena_interval() returns for a gap
size_t last_found = 0;

bool commit(uint64_t end) {
  if (end <= committed) return true;
  const uint64_t target = std::min(arena_span, (end + kCommitUnit - 1) / kCommitUnit * kCommitUnit);
  if (end > target) return false;
  if (mprotect(arena + committed, target - committed, PROT_READ | PROT_WRITE) != 0) return false;
  committed = target;
  return true;
}

// First interval that ends after the offset.
size_t find_interval(uint64_t offset) {
  if (last_found < intervals.size() && offset < intervals[last_found].end &&
      (last_found == 0 || offset >= intervals[last_found - 1].end)) {
    return last_found;
  }
  const auto at = std::upper_bound(
      intervals.begin(), intervals.end(), offset,
      [](uint64_t value, const Interval& interval) { return value < interval.end; });
  return last_found = static_cast<size_t>(at - intervals.begin());
}

const Allocation* allocation_before(uint64_t offset) {
  const auto after = std::upper_bound(
      allocations.begin(), allocations.end(), offset,
      [](uint64_t value, const Allocation& allocation) { return value < allocation.offset; });
  return after == allocations.begin() ? nullptr : &*(after - 1);
}

// Makes [begin, end) one interval, cutting the ones that it overlaps.
void set_interval(uint64_t begin, uint64_t end, Region region) {
  const Interval whole{begin, end, region, ++machine.generation};
  const auto ends_later = [](uint64_t value, const Interval& i) { return value < i.end; };
  auto first = std::upper_bound(intervals.begin(), intervals.end(), begin, ends_later);
  if (first != intervals.end() && first->begin < begin) {
    Interval head = *first;
    head.end = begin;
    first->begin = begin;
    first = intervals.insert(first, head) + 1;
  }
  auto last = std::upper_bound(first, intervals.end(), end, ends_later);
  if (last != intervals.end() && last->begin < end) last->begin = end;
  if (first == last) {
    intervals.insert(first, whole);
  } else {
    *first = whole;
    intervals.erase(first + 1, last);
  }
}

// A file in memory of kPattern bytes that were never written; -1 if there can be none.
int pattern_file() {
  static const int file = [] {
    const int made = memfd_create("kvproof never written", MFD_CLOEXEC);
    if (made < 0) return -1;
    void* p = ftruncate(made, kPattern) == 0
                  ? mmap(nullptr, kPattern, PROT_READ | PROT_WRITE, MAP_SHARED, made, 0)
                  : MAP_FAILED;
    if (p == MAP_FAILED) {
      close(made);
      return -1;
    }
    std::memset(p, kNeverWritten, kPattern);
    munmap(p, kPattern);
    return made;
  }();
  return file;
}

bool map_pattern(char* at) {
  if (pattern_file() < 0) return false;
  return mmap(at, kPattern, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
              pattern_file(), 0) != MAP_FAILED;
}

// A pool of gigabytes of which few pages are touched costs those pages: the others are all the same
// ones of a file, and what is written gets a page of its own.
void fill(char* p, uint64_t bytes) {
  const uint64_t head = (kPage - reinterpret_cast<uint64_t>(p) % kPage) % kPage;
  uint64_t mapped = head;
  if (bytes >= kKept) {
    while (mapped + kPattern <= bytes && map_pattern(p + mapped)) mapped += kPattern;
  }
  std::memset(p, kNeverWritten, std::min(head, bytes));
  if (mapped < bytes) std::memset(p + mapped, kNeverWritten, bytes - mapped);
}

}  // namespace

std::string arena_open() {
  if (arena != nullptr) return "";
  for (uint64_t span = kSpanMax; span >= kSpanMin; span /= 2) {
    void* p = mmap(nullptr, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) continue;
    if (kChecked && !shadow_open(span)) {
      munmap(p, span);
      continue;
    }
    arena = static_cast<char*>(p);
    arena_span = span;
    if (commit(kSharedBytes)) return "";
    return "emulator: no memory for the shared memory of a block";
  }
  return format("emulator: no address space, at least %llu MiB are required",
                static_cast<unsigned long long>(kSpanMin >> 20));
}

void* arena_allocate(uint64_t bytes, const char* name) {
  const uint64_t offset =
      (top + kRedzoneBytes + kAllocationAlign - 1) / kAllocationAlign * kAllocationAlign;
  if (bytes > arena_span || !commit(offset + bytes + kRedzoneBytes)) return nullptr;
  top = offset + bytes;
  allocations.push_back({offset, bytes, name ? name : "unnamed"});
  if (bytes) set_interval(offset, top, Region::unwritten);
  fill(arena + offset, bytes);
  return arena + offset;
}

void arena_reset() {
  allocations.clear();
  intervals.clear();
  top = kSharedBytes;
  if (committed > kKept) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    if (mmap(arena + kKept, committed - kKept, PROT_NONE, flags, -1, 0) != MAP_FAILED) {
      committed = kKept;
    }
  }
  if constexpr (kChecked) shadow_reset();
}

bool arena_contains(uint64_t address, uint64_t bytes) {
  const uint64_t offset = arena_offset(address);
  const Allocation* a = allocation_before(offset);
  return a != nullptr && bytes <= a->bytes && offset - a->offset <= a->bytes - bytes;
}

bool arena_mark(uint64_t address, uint64_t bytes, Region region) {
  if (!arena_contains(address, bytes)) return false;
  if (bytes == 0) return true;
  const uint64_t begin = arena_offset(address);
  set_interval(begin, begin + bytes, region);
  return true;
}

const Interval& arena_interval(uint64_t offset) {
  const size_t i = find_interval(offset);
  if (i < intervals.size() && intervals[i].begin <= offset) return intervals[i];
  gap = {i == 0 ? 0 : intervals[i - 1].end, i < intervals.size() ? intervals[i].begin : arena_span,
         Region::unallocated, 0};
  return gap;
}

uint64_t outside_bytes(uint64_t address, uint64_t bytes) {
  uint64_t outside = 0;
  const uint64_t begin = arena_offset(address), end = begin + bytes;
  if (begin >= arena_span || bytes > arena_span - begin) return bytes;
  if (begin < kSharedBytes) {
    uint64_t inside = 0;
    const auto overlap = [&](uint64_t from, uint64_t size) {
      const uint64_t low = std::max(begin, from), high = std::min(end, from + size);
      return low < high ? high - low : 0;
    };
    inside += overlap(kStaticBytes, machine.shape.shared_bytes);
    for (const StaticShared& s : machine.statics) inside += overlap(s.offset, s.bytes);
    return bytes - inside;
  }
  for (uint64_t at = begin; at < end;) {
    const Interval& interval = arena_interval(at);
    const uint64_t stop = std::min(end, interval.end);
    if (interval.region == Region::unallocated || interval.region == Region::redzone) {
      outside += stop - at;
    }
    at = stop;
  }
  return outside;
}

std::string describe_address(uint64_t address) {
  const uint64_t offset = arena_offset(address);
  const auto number = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  if (offset >= arena_span) return format("address 0x%llx outside of the device", number(address));
  if (offset >= kStaticBytes && offset < kSharedBytes) {
    return format("dynamic shared +%llu (size %llu)", number(offset - kStaticBytes),
                  number(machine.shape.shared_bytes));
  }
  if (offset < kStaticBytes) {
    for (const StaticShared& s : machine.statics) {
      if (offset >= s.offset && offset < s.offset + s.bytes) {
        return format("shared '%s' +%llu (size %llu)", s.name, number(offset - s.offset),
                      number(s.bytes));
      }
    }
    return format("static shared +%llu, which no variable holds", number(offset));
  }
  const Allocation* a = allocation_before(offset);
  if (a == nullptr) return format("global +%llu, before every buffer", number(offset));
  return format("buffer '%s' +%llu (size %llu)", a->name.c_str(), number(offset - a->offset),
                number(a->bytes));
}

}  // namespace simt
