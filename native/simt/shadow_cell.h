// shadow_cell.h - the cell of one word of device memory, and the layout of its two packed entries.
//
//   write  generation 22 | slot 12 | time 18 | bytes 4 | valid 4 | initialised 4
//   read   generation 22 | slot 12 | time 18 | bytes 4 | 0     4 | earlier 4
// bytes: which of the word the entry is about. valid: which may be accessed at all. A word that is
// an mbarrier has valid 0 and initialised 15. earlier: the bytes that other blocks of this launch
// have read. The generation of the read entry says for which block the cell is up to date; that of
// the write entry may be an earlier block's of the same launch. A read entry of threads names the
// first slot of a warp, and `lanes` says which of it: all lanes of a warp share a time (clock.h),
// so one entry describes the usual read of a word by many lanes. The time 0 means an access before
// everything, by the host.
#pragma once
#include <cstdint>

#include "machine.h"

namespace simt {

struct Cell {
  uint64_t write, read;
  uint32_t lanes;                    // of the read entry
  uint32_t more;                     // first list entry plus 1, or 0; kMoreWrites if it has writes
  uint32_t write_place, read_place;  // see shadow.cpp, pack_place
};
static_assert(sizeof(Cell) == 32);
extern Cell* cells;  // one for each word of the arena

// What did not fit: another write or read of this block, of other bytes or by another warp.
struct More {
  const Cell* owner;  // a stale index leads to an entry of another owner
  uint64_t entry;     // as Cell::write or Cell::read, without valid, initialised and earlier
  uint32_t lanes, place, next;
  bool is_write;
};

constexpr int kInitialisedShift = 0, kValidShift = 4, kBytesShift = 8, kTimeShift = 12,
              kSlotShift = 30, kGenerationShift = 42;
constexpr uint32_t kMoreWrites = 1u << 31;
constexpr uint64_t kEarlier = 15;
constexpr uint64_t kFlags = 0xff;          // valid and initialised
constexpr uint64_t kMbarrierFlags = 0x0f;  // valid 0, initialised 15
constexpr uint64_t kAllBytes = 15;
constexpr uint64_t kTimeMask = (1u << 18) - 1, kSlotMask = (1u << 12) - 1;

inline uint64_t pack(uint32_t generation, uint32_t slot, uint32_t time) {
  return static_cast<uint64_t>(generation) << kGenerationShift |
         static_cast<uint64_t>(slot) << kSlotShift | static_cast<uint64_t>(time) << kTimeShift;
}
inline uint32_t generation_of(uint64_t e) { return static_cast<uint32_t>(e >> kGenerationShift); }
inline uint32_t slot_of(uint64_t e) { return static_cast<uint32_t>(e >> kSlotShift & kSlotMask); }
inline uint32_t time_of(uint64_t e) { return static_cast<uint32_t>(e >> kTimeShift & kTimeMask); }
inline uint64_t bytes_of(uint64_t e) { return e >> kBytesShift & kAllBytes; }
inline uint64_t valid_of(uint64_t e) { return e >> kValidShift & kAllBytes; }
inline uint64_t initialised_of(uint64_t e) { return e >> kInitialisedShift & kAllBytes; }
inline bool in_this_block(uint64_t e) { return generation_of(e) == machine.generation; }
inline bool current_cell(const Cell& cell) { return in_this_block(cell.read); }
// The entry without its byte masks: who and when.
inline uint64_t stamp_of(uint64_t e) { return e >> kTimeShift << kTimeShift; }

}  // namespace simt
