// shadow.cpp - see shadow.h; the cell is described in shadow_cell.h.
//
// Kinds of order between an earlier access and the running thread: in the same block the clock
// decides; in another block of the same launch fences and atomics do (atomic.cpp), and nothing
// else; in an earlier launch, or by the host, everything does. Shared memory of another block is
// not the same memory.
//
// What is here judges any word. Most need less: shadow_quiet.h.
#include "shadow.h"

#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include "arena.h"
#include "schedule.h"
#include "shadow_access.h"
#include "shadow_cell.h"
#include "shadow_renew.h"

namespace simt {

Cell* cells = nullptr;

namespace {

std::vector<More> more;

Access of_thread(uint64_t address, uint32_t size, uint64_t pc) {
  const Thread& t = *current;
  return {t.warp->stamp + pack(0, t.lane, 0),
          t.warp->stamp,
          1u << t.lane,
          pack_code(pc),
          size,
          address};
}

Access of_site(uint64_t address, uint32_t size, simt_site at) {
  Access a = of_thread(address, size, 0);
  a.place = pack_site(at);
  return a;
}

// ---- order ----

bool write_ordered(uint64_t entry) {
  if (time_of(entry) == 0) return true;
  if (in_this_block(entry)) return ordered(*current, slot_of(entry), time_of(entry));
  return ordered_in_block(*current, generation_of(entry), slot_of(entry), time_of(entry));
}

// Lanes of a read entry that are not ordered before the running thread.
uint32_t unordered_lanes(uint64_t entry, uint32_t lanes) {
  uint32_t unordered = 0;
  for (uint32_t left = lanes; left; left &= left - 1) {
    const uint32_t lane = lowest_lane(left);
    if (!ordered(*current, slot_of(entry) + lane, time_of(entry))) unordered |= 1u << lane;
  }
  return unordered;
}

// A bulk copy after a plain access of this block that no proxy fence of its thread covers.
bool unfenced(const Access& a, uint64_t entry) {
  const bool plain = time_of(entry) != 0 && in_this_block(entry) &&
                     (slot_of(entry) < 2 * machine.threads || is_atomic_slot(slot_of(entry)));
  return a.bulk && plain && !fenced(*current, slot_of(entry), time_of(entry));
}

// ---- cells ----

// After a race between blocks has been reported, the word counts as written by the host.
void settle(Cell& cell) { cell.write = pack(machine.generation, 0, 0) | (cell.write & kFlags); }

// ---- lists ----

More* list(const Cell& cell) {
  const uint32_t index = cell.more & ~kMoreWrites;
  if (index == 0 || index > more.size()) return nullptr;
  More* first = &more[index - 1];
  return first->owner == &cell ? first : nullptr;
}

More* next(const More& m) { return m.next ? &more[m.next - 1] : nullptr; }

void push(Cell& cell, uint64_t entry, uint32_t lanes, uint32_t place, bool is_write) {
  const bool any = list(cell) != nullptr;
  const uint32_t rest = any ? cell.more & ~kMoreWrites : 0;
  const uint32_t writes = (any ? cell.more & kMoreWrites : 0) | (is_write ? kMoreWrites : 0);
  more.push_back({&cell, entry, lanes, place, rest, is_write});
  cell.more = static_cast<uint32_t>(more.size()) | writes;
}

// An earlier write to the same bytes, against this access.
__attribute__((noinline)) bool check_entry(const Access& a, uint64_t offset, bool write,
                                           uint64_t entry, uint32_t place) {
  if (a.atomic && is_atomic_slot(slot_of(entry))) return true;
  if (!write_ordered(entry)) {
    report_race(a, offset, write, entry, true, 0, place);
    return false;
  }
  if (unfenced(a, entry)) report_missing_fence(a, offset, write, entry, place);
  return true;
}

void check_list(Cell& cell, const Access& a, uint64_t offset, uint64_t bytes, bool write) {
  for (const More* m = list(cell); m != nullptr; m = next(*m)) {
    if (!(bytes_of(m->entry) & bytes) || !(m->is_write || write)) continue;
    if (m->is_write) {
      check_entry(a, offset, write, m->entry, m->place);
    } else if (const uint32_t lanes = unordered_lanes(m->entry, m->lanes)) {
      report_race(a, offset, write, m->entry, false, lanes, m->place);
    }
  }
}

// Removes bytes that a new write supersedes from every entry of the list. An atomic supersedes no
// other atomic.
void forget_in_list(Cell& cell, const Access& a, uint64_t bytes) {
  bool left = false;
  for (More* m = list(cell); m != nullptr; m = next(*m)) {
    const bool kept = a.atomic && m->is_write && is_atomic_slot(slot_of(m->entry));
    if (!kept) m->entry &= ~(bytes << kBytesShift);
    left |= bytes_of(m->entry) != 0;
  }
  if (!left) cell.more = 0;
}

// Moves what a new write does not supersede from the cell to the list.
void keep_older_write(Cell& cell, const Access& a, uint64_t bytes) {
  const uint64_t w = cell.write;
  if (time_of(w) == 0 || stamp_of(w) == a.write_stamp) return;
  const bool both_atomic = a.atomic && is_atomic_slot(slot_of(w));
  const uint64_t kept = both_atomic ? bytes_of(w) : bytes_of(w) & ~bytes;
  if (kept == 0) return;
  for (More* m = list(cell); both_atomic && m != nullptr; m = next(*m)) {
    if (!m->is_write || slot_of(m->entry) != slot_of(w) || !in_this_block(m->entry)) continue;
    m->entry = stamp_of(w) | (bytes_of(m->entry) | kept) << kBytesShift;
    m->place = cell.write_place;
    return;
  }
  push(cell, stamp_of(w) | kept << kBytesShift, 0, cell.write_place, true);
}

// ---- one word ----

inline __attribute__((always_inline)) void check_against_write(Cell& cell, const Access& a,
                                                               uint64_t offset, uint64_t bytes,
                                                               bool write) {
  const uint64_t w = cell.write;
  if (time_of(w) == 0) current->ordered_write = stamp_of(w);
  if (!(bytes_of(w) & bytes) || time_of(w) == 0) return;
  const bool simple = in_this_block(w) && !a.bulk;
  if (SIMT_LIKELY(simple && ordered(*current, slot_of(w), time_of(w)))) {
    current->ordered_write = stamp_of(w);
    return;
  }
  if (!check_entry(a, offset, write, w, cell.write_place) && !in_this_block(w)) settle(cell);
}

}  // namespace

bool follows(const Access& a, uint64_t entry) {
  return write_ordered(entry) && !unfenced(a, entry);
}

void read_word(Cell& cell, const Access& a, uint64_t offset, uint64_t bytes) {
  if (!current_cell(cell)) renew(cell, offset);
  const uint64_t w = cell.write;
  if (SIMT_UNLIKELY((valid_of(w) & initialised_of(w) & bytes) != bytes)) {
    report_bad_access(a, offset, w, false);
    return;
  }
  check_against_write(cell, a, offset, bytes, false);
  if (cell.more & kMoreWrites) check_list(cell, a, offset, bytes, false);
  if (a.atomic) return;  // a relaxed load: it races with plain writes only
  const uint64_t mine = a.read_stamp | bytes << kBytesShift;
  const uint64_t r = cell.read;
  if ((r & ~kEarlier) == mine) {
    cell.lanes |= a.lane_bit;
    return;
  }
  const bool replace =
      cell.lanes == 0 || ((bytes_of(r) & ~bytes) == 0 && unordered_lanes(r, cell.lanes) == 0);
  if (!replace) {
    for (More* m = list(cell); m != nullptr; m = next(*m)) {
      if (m->is_write || m->entry != mine) continue;
      m->lanes |= a.lane_bit;
      return;
    }
    push(cell, r & ~kEarlier, cell.lanes, cell.read_place, false);
  }
  cell.read = mine | (r & kEarlier);
  cell.lanes = a.lane_bit;
  cell.read_place = a.place;
}

void write_word(Cell& cell, const Access& a, uint64_t offset, uint64_t bytes) {
  if (!current_cell(cell)) renew(cell, offset);
  if (SIMT_UNLIKELY((valid_of(cell.write) & bytes) != bytes)) {
    report_bad_access(a, offset, cell.write, true);
    return;
  }
  check_against_write(cell, a, offset, bytes, true);
  if (cell.more) {
    check_list(cell, a, offset, bytes, true);
    forget_in_list(cell, a, bytes);
  }
  const uint64_t r = cell.read;
  // Which block has read it is not kept: one from which nothing was acquired, so far as is known.
  if ((r & kEarlier & bytes) && current->clock->blocks.empty())
    report_race(a, offset, true, 0, false, 0, 0);
  if (cell.lanes && (bytes_of(r) & bytes)) {
    if (const uint32_t lanes = unordered_lanes(r, cell.lanes)) {
      report_race(a, offset, true, r, false, lanes, cell.read_place);
    }
    cell.read = r & ~(bytes << kBytesShift);
    if (bytes_of(cell.read) == 0) cell.lanes = 0;
  }
  keep_older_write(cell, a, bytes);
  const uint64_t w = cell.write;
  const uint64_t same = stamp_of(w) == a.write_stamp ? bytes_of(w) : 0;
  cell.write =
      a.write_stamp | (same | bytes) << kBytesShift | (w & kFlags) | bytes << kInitialisedShift;
  cell.write_place = a.place;
}

namespace {

template <bool write>
void whole_access(const Access& a) {
  const uint64_t first = arena_offset(a.address);
  if (SIMT_UNLIKELY(a.size > arena_span - first)) {
    report_bad_access(a, first, 0, write);
    return;
  }
  for (uint64_t offset = first & ~uint64_t{3}; offset < first + a.size; offset += 4) {
    uint64_t bytes = kAllBytes;
    if (offset < first) bytes &= kAllBytes << (first - offset);
    if (offset + 4 > first + a.size) bytes &= kAllBytes >> (offset + 4 - first - a.size);
    Cell& cell = cells[offset / 4];
    if constexpr (write) {
      write_word(cell, a, offset, bytes);
    } else {
      read_word(cell, a, offset, bytes);
    }
  }
}

}  // namespace

bool shadow_open(uint64_t span) {
  void* p = mmap(nullptr, span / 4 * sizeof(Cell), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return false;
  cells = static_cast<Cell*>(p);
  return true;
}

void shadow_reset() {
  // Generations are used up by blocks and host calls; long before they are, everything starts anew.
  constexpr uint32_t kRestart = 1u << 21;
  constexpr uint64_t kKeepBytes = 256ull << 20;  // cells that a small case may leave resident
  ground[0] = ground[1] = {};
  const uint64_t used = std::max(cells_in_use, kSharedBytes) / 4 * sizeof(Cell);
  if (machine.generation > kRestart || used > kKeepBytes) {
    madvise(cells, used, MADV_DONTNEED);
    cells_in_use = 0;
    if (machine.generation > kRestart) machine.generation = 1;
  }
}

void shadow_block() { more.clear(); }

void shadow_read(uint64_t address, uint32_t size, uint64_t pc) {
  whole_access<false>(of_thread(address, size, pc));
}

void shadow_write(uint64_t address, uint32_t size, uint64_t pc) {
  whole_access<true>(of_thread(address, size, pc));
}

void shadow_read_at(uint64_t address, uint32_t size, simt_site at) {
  whole_access<false>(of_site(address, size, at));
}

void shadow_atomic(uint64_t address, uint32_t size, int kind, simt_site at) {
  Access a = of_site(address, size, at);
  a.atomic = true;
  a.write_stamp = pack(machine.generation, kAtomicSlot + current->id, current->warp->time);
  if (kind != SIMT_ATOMIC_STORE) whole_access<false>(a);
  if (kind != SIMT_ATOMIC_LOAD) whole_access<true>(a);
}

void shadow_mbarrier(uint64_t address, simt_site at) {
  const uint64_t offset = arena_offset(address);
  whole_access<true>(of_site(address, 8, at));
  for (Cell* cell : {&cells[offset / 4], &cells[offset / 4 + 1]}) {
    cell->write = stamp_of(cell->write) | kMbarrierFlags;
  }
}

void shadow_fresh(uint64_t address, uint64_t bytes, const Thread& witness, simt_site at) {
  if (outside_bytes(address, bytes) != 0) {
    if (report_again("out of bounds", Place::of(at))) return;
    report(
        "out of bounds", at,
        format("the region of %llu bytes at %s that this barrier declares dead is not all shared "
               "memory of the block",
               static_cast<unsigned long long>(bytes), describe_address(address).c_str()));
    return;
  }
  const uint64_t now = pack(machine.generation, 0, 0);
  const uint64_t first = arena_offset(address);
  for (uint64_t offset = first & ~uint64_t{3}; offset < first + bytes; offset += 4) {
    Cell& cell = cells[offset / 4];
    if (!current_cell(cell)) renew(cell, offset);
    if ((cell.write & kFlags) == kMbarrierFlags) continue;
    const uint64_t w = cell.write;
    if (time_of(w) != 0 && !ordered(witness, slot_of(w), time_of(w))) {
      report_reuse(offset, w, cell.write_place, at);
    }
    cell.write = now | (valid_of(cell.write) << kValidShift);
    cell.read = now;
    cell.lanes = cell.more = 0;
  }
}

}  // namespace simt
