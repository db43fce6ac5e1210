// shadow_renew.h - cells that were last touched in an earlier block (checked build).
#pragma once
#include <cstdint>

#include "arena.h"
#include "shadow_cell.h"

namespace simt {

// Arena offset up to which cells of global memory may be in use.
extern uint64_t cells_in_use;

// A part of the arena all words of which may be used for the same.
struct Ground {
  uint64_t begin = 0, end = 0;  // offsets
  uint64_t flags = 0;           // of a word of which nothing else is known
  uint32_t marked = 0;          // cells older than this generation know nothing
  uint32_t known = 0;           // the generation in which this was found out
};
// Of global and of shared memory, the part that was met last.
extern Ground ground[2];

// Finds the part around a word; an empty one if the word lies in two.
void survey(uint64_t offset);
inline const Ground& ground_at(uint64_t offset) {
  const Ground& here = ground[offset < kSharedBytes];
  const bool known =
      here.known == machine.generation && offset >= here.begin && offset + 4 <= here.end;
  if (SIMT_UNLIKELY(!known)) survey(offset);
  return here;
}

// What a stale cell, which lies in a part, becomes in the generation of `now`.
inline __attribute__((always_inline)) void renew_on(const Ground& here, Cell& cell, uint64_t now) {
  const uint64_t write = cell.write, read = cell.read;
  cell.more = 0;
  cell.lanes = 0;
  cell.read = now;
  if (generation_of(write) < here.marked || write == 0) {
    cell.write = now | here.flags;
    return;
  }
  if (generation_of(read) >= machine.first_generation) {
    cell.read |= (read & kEarlier) | (time_of(read) != 0 ? bytes_of(read) : 0);
  }
  const bool this_launch = generation_of(write) >= machine.first_generation && time_of(write) != 0;
  cell.write = this_launch ? write : now | (write & kFlags);
}

// Brings a cell up to date: what it must remember of earlier blocks of this launch, and nothing
// else. A write by an earlier block keeps its generation, so that every access by this one is a
// race.
void renew(Cell& cell, uint64_t offset);

}  // namespace simt
