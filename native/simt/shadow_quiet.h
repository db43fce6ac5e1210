// shadow_quiet.h - the accesses that nothing can be said about, decided in a few instructions
// (checked build).
//
// Nearly every word that a kernel touches is valid, holds a value, was written before everything or
// by the same party as the word before it, and has no second reader. These functions do for such a
// word what shadow.cpp does for any, and otherwise change nothing and return false; then shadow.cpp
// decides. Doing an access twice is harmless, so one of several words may be given up half way.
#pragma once
#include "clock.h"
#include "shadow_cell.h"

namespace simt {

// mine: the stamp of the running warp. ordered: the stamp of a write that is known to be ordered
// before this access. A word of which no byte is left of such a write goes the long way.
inline __attribute__((always_inline)) bool read_quietly(Cell& cell, uint64_t mine, uint64_t bytes,
                                                        uint32_t lane_bit, uint32_t place,
                                                        uint64_t ordered) {
  const uint64_t w = cell.write, r = cell.read;
  const uint64_t usable = bytes << kValidShift | bytes << kInitialisedShift;
  mine |= bytes << kBytesShift;
  if (stamp_of(w) != ordered || (w & usable) != usable || (cell.more & kMoreWrites)) return false;
  if ((r & ~kEarlier) == mine) {
    cell.lanes |= lane_bit;
    return true;
  }
  if (generation_of(r) != generation_of(mine) || cell.lanes != 0) return false;
  cell.read = mine | (r & kEarlier);
  cell.lanes = lane_bit;
  cell.read_place = place;
  return true;
}

// mine: the stamp of the running thread. Words that are read, also by earlier blocks, or of which
// an older write leaves something, go the long way.
inline __attribute__((always_inline)) bool write_quietly(Cell& cell, uint64_t mine, uint64_t bytes,
                                                         uint32_t place, uint64_t ordered) {
  const uint64_t w = cell.write, r = cell.read;
  const uint64_t valid = bytes << kValidShift;
  if (stamp_of(w) != ordered || (w & valid) != valid || cell.more != 0) return false;
  if (generation_of(r) != generation_of(mine) || cell.lanes != 0 || (r & kEarlier)) return false;
  const uint64_t same = stamp_of(w) == mine ? bytes_of(w) : 0;
  if (same == 0 && (bytes_of(w) & ~bytes)) return false;
  cell.write = mine | (same | bytes) << kBytesShift | (w & kFlags) | bytes << kInitialisedShift;
  cell.write_place = place;
  return true;
}

}  // namespace simt
