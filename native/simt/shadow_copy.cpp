// shadow_copy.cpp - the accesses of asynchronous copies, thousands of words at once. See shadow.h.
//
// What is known of one word's last write and readers usually holds for the next word's.
#include <algorithm>

#include "arena.h"
#include "clock.h"
#include "schedule.h"
#include "shadow.h"
#include "shadow_access.h"
#include "shadow_quiet.h"
#include "shadow_renew.h"

namespace simt {
namespace {

// What a copy has found out on its way; stamps as in shadow_cell.h.
struct Known {
  uint64_t followed = 0;  // a write that it follows
  uint64_t readers = 0;   // reads of a warp at one time
  uint32_t ordered = 0;   // lanes of those that are known to be ordered before it
};

inline bool readers_ordered(const Cell& cell, const Known& known) {
  return stamp_of(cell.read) == known.readers && (cell.lanes & ~known.ordered) == 0;
}

inline void forget_readers(Cell& cell) {
  cell.read &= ~(kAllBytes << kBytesShift);
  cell.lanes = 0;
}

void learn_readers(const Cell& cell, Known& known) {
  if (stamp_of(cell.read) != known.readers) {
    known.readers = stamp_of(cell.read);
    known.ordered = 0;
  }
  for (uint32_t left = cell.lanes & ~known.ordered; left; left &= left - 1) {
    const uint32_t lane = lowest_lane(left);
    if (ordered(*current, slot_of(cell.read) + lane, time_of(cell.read))) {
      known.ordered |= 1u << lane;
    }
  }
}

template <bool write>
inline __attribute__((always_inline)) bool quiet_word(Cell& cell, uint64_t stamp, uint32_t place,
                                                      uint64_t followed) {
  return write ? write_quietly(cell, stamp, kAllBytes, place, followed)
               : read_quietly(cell, stamp, kAllBytes, 1, place, followed);
}

// A word about which something is to be found out, or to be said.
template <bool write>
__attribute__((noinline)) void other_word(Cell& cell, const Access& a, uint64_t offset,
                                          Known& known) {
  if (!current_cell(cell)) renew(cell, offset);
  if (follows(a, cell.write)) known.followed = stamp_of(cell.write);
  if (write && cell.lanes != 0) {
    learn_readers(cell, known);
    if (readers_ordered(cell, known)) forget_readers(cell);
  }
  if (quiet_word<write>(cell, a.write_stamp, a.place, known.followed)) return;
  if constexpr (write) {
    write_word(cell, a, offset, kAllBytes);
  } else {
    read_word(cell, a, offset, kAllBytes);
  }
}

// Words from `offset` to the end of the copy or of the part of the arena that the first lies in.
// Returns where that is.
template <bool write>
uint64_t copy_part(const Access& a, uint64_t offset, uint64_t end, Known& known) {
  const Ground here = ground_at(offset);
  const uint64_t stamp = a.write_stamp, now = pack(generation_of(stamp), 0, 0);
  const uint32_t place = a.place;
  // What every stale cell becomes where none knows anything, as in shared memory.
  Cell first{};
  if (here.marked == generation_of(now)) renew_on(here, first, now);
  const bool all_alike = quiet_word<write>(first, stamp, place, now);
  do {
    Cell& cell = cells[offset / 4];
    const bool is_stale = generation_of(cell.read) != generation_of(now);
    if (is_stale && all_alike) {
      cell = first;
      offset += 4;
      continue;
    }
    Cell next = cell;
    if (is_stale) {
      if (here.end != 0) renew_on(here, next, now);
    } else if (write && next.lanes != 0 && readers_ordered(next, known)) {
      forget_readers(next);
    }
    if (SIMT_LIKELY(quiet_word<write>(next, stamp, place, known.followed))) {
      cell = next;
    } else {
      other_word<write>(cell, a, offset, known);
    }
    offset += 4;
  } while (offset < end && offset + 4 <= here.end);
  return offset;
}

// Both addresses of a copy are multiples of 16, in the arena, and so is the size (copy.cpp).
template <bool write>
void copy_words(const Access& a) {
  const uint64_t end = arena_offset(a.address) + a.size;
  if (end > kSharedBytes) cells_in_use = std::max(cells_in_use, end);
  Known known;
  for (uint64_t offset = end - a.size; offset < end;) {
    offset = copy_part<write>(a, offset, end, known);
  }
}

}  // namespace

void shadow_async(uint64_t address, uint32_t size, bool write, const AsyncAccess& async) {
  const uint64_t stamp = pack(machine.generation, async.slot, async.time);
  Access a{stamp, stamp, 1, pack_site(async.at), size, address};
  a.asynchronous = true;
  a.bulk = async.slot >= 2 * machine.threads;
  if (write) {
    copy_words<true>(a);
  } else {
    copy_words<false>(a);
  }
}

}  // namespace simt
