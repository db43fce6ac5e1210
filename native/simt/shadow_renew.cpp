// shadow_renew.cpp - see shadow_renew.h. What a byte may be used for comes from the arena's
// intervals.
#include "shadow_renew.h"

#include <algorithm>

#include "arena.h"
#include "machine.h"

namespace simt {

uint64_t cells_in_use = 0;

namespace {

uint64_t flags_of_region(uint64_t offset) {
  uint64_t flags = 0;
  for (uint64_t byte = 0; byte < 4; byte++) {
    const Region region = arena_interval(offset + byte).region;
    if (region == Region::unwritten || region == Region::initialised) {
      flags |= 1u << (kValidShift + byte);
    }
    if (region == Region::initialised) flags |= 1u << (kInitialisedShift + byte);
  }
  return flags;
}

uint64_t flags_of_shared(uint64_t offset) {
  if (outside_bytes(reinterpret_cast<uint64_t>(arena) + offset, 4) == 0) {
    return kAllBytes << kValidShift;
  }
  uint64_t flags = 0;
  for (uint64_t byte = 0; byte < 4; byte++) {
    if (outside_bytes(reinterpret_cast<uint64_t>(arena) + offset + byte, 1) == 0) {
      flags |= 1u << (kValidShift + byte);
    }
  }
  return flags;
}

}  // namespace

Ground ground[2];

void survey(uint64_t offset) {
  Ground& here = ground[offset < kSharedBytes];
  here = {};
  if (offset < kSharedBytes) {
    const uint64_t end = kStaticBytes + machine.shape.shared_bytes;
    if (offset < kStaticBytes || offset + 4 > end) return;
    // Shared memory is new in each block: no cell of an earlier one knows anything.
    here = {kStaticBytes, end, kAllBytes << kValidShift, machine.generation, machine.generation};
    return;
  }
  const Interval interval = arena_interval(offset);
  if (interval.end < offset + 4) return;
  here = {interval.begin, interval.end, flags_of_region(offset), interval.generation,
          machine.generation};
}

void renew(Cell& cell, uint64_t offset) {
  Ground here = ground_at(offset);
  if (here.end == 0) {
    here.flags = offset < kSharedBytes ? flags_of_shared(offset) : flags_of_region(offset);
    here.marked = offset < kSharedBytes ? machine.generation : 0;
    for (uint64_t byte = 0; byte < 4 && offset >= kSharedBytes; byte++) {
      here.marked = std::max(here.marked, arena_interval(offset + byte).generation);
    }
  }
  if (offset >= kSharedBytes) cells_in_use = std::max(cells_in_use, offset + 4);
  renew_on(here, cell, pack(machine.generation, 0, 0));
}

}  // namespace simt
