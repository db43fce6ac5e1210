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
  constexpr uint64_t kAllValid = kAllBytes << kValidShift;
  const uint64_t dynamic_end = kStaticBytes + machine.shape.shared_bytes;
  if (SIMT_LIKELY(offset >= kStaticBytes && offset + 4 <= dynamic_end)) return kAllValid;
  if (outside_bytes(reinterpret_cast<uint64_t>(arena) + offset, 4) == 0) return kAllValid;
  uint64_t flags = 0;
  for (uint64_t byte = 0; byte < 4; byte++) {
    if (outside_bytes(reinterpret_cast<uint64_t>(arena) + offset + byte, 1) == 0) {
      flags |= 1u << (kValidShift + byte);
    }
  }
  return flags;
}

// The interval that was looked up last, as long as nothing has been marked since.
struct {
  Interval interval{1, 0, Region::unallocated, 0};
  uint32_t generation = 0;
} recent;

// Newest interval that a byte of the word lies in.
uint32_t region_generation(uint64_t offset) {
  if (recent.generation == machine.generation && offset >= recent.interval.begin &&
      offset + 4 <= recent.interval.end) {
    return recent.interval.generation;
  }
  const Interval first = arena_interval(offset);
  if (first.end >= offset + 4) {
    recent.interval = first;
    recent.generation = machine.generation;
    return first.generation;
  }
  uint32_t newest = first.generation;
  for (uint64_t byte = 1; byte < 4; byte++) {
    newest = std::max(newest, arena_interval(offset + byte).generation);
  }
  return newest;
}

}  // namespace

void renew(Cell& cell, uint64_t offset) {
  const uint64_t now = pack(machine.generation, 0, 0);
  const uint64_t write = cell.write, read = cell.read;
  cell.more = 0;
  cell.lanes = 0;
  cell.read = now;
  if (offset < kSharedBytes) {
    cell.write = now | flags_of_shared(offset);
    return;
  }
  cells_in_use = std::max(cells_in_use, offset + 4);
  const uint32_t marked = region_generation(offset);
  if (generation_of(write) < marked || write == 0) {
    cell.write = now | flags_of_region(offset);
    return;
  }
  if (generation_of(read) >= machine.first_generation) {
    cell.read |= (read & kEarlier) | (time_of(read) != 0 ? bytes_of(read) : 0);
  }
  const bool this_launch = generation_of(write) >= machine.first_generation && time_of(write) != 0;
  cell.write = this_launch ? write : now | (write & kFlags);
}

}  // namespace simt
