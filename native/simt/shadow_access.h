// shadow_access.h - one access as the checks see it, and the reports about it (checked build).
#pragma once
#include <cstdint>

#include "report.h"
#include "runtime.h"
#include "shadow_cell.h"
#include "symbol.h"

namespace simt {

// One access of the running thread, or of a copy that it issues.
struct Access {
  uint64_t write_stamp, read_stamp;
  uint32_t lane_bit, place, size;
  uint64_t address;  // first byte of the whole access, for reports
  bool asynchronous = false;
  bool bulk = false;  // by the asynchronous proxy
  bool atomic = false;
};

// The words of an access, one by one: `bytes` of the word at `offset` of the arena.
void read_word(Cell& cell, const Access& a, uint64_t offset, uint64_t bytes);
void write_word(Cell& cell, const Access& a, uint64_t offset, uint64_t bytes);
// True if the write `entry` (as in shadow_cell.h) is ordered before the access, and visible to it.
bool follows(const Access& a, uint64_t entry);

// A place in 32 bits: a site's number with the top bit set, or an offset into this library.
uint32_t pack_site(simt_site site);
inline uint32_t pack_code(uint64_t pc) { return static_cast<uint32_t>(pc - library_start()); }

// `offset` is the word's, into the arena. `flags`, `other`: entries as in shadow_cell.h.
void report_bad_access(const Access& a, uint64_t offset, uint64_t flags, bool write);
// The earlier access `other`, at `place`; lanes: which lanes of a read entry, or 0.
void report_race(const Access& a, uint64_t offset, bool write, uint64_t other, bool other_write,
                 uint32_t lanes, uint32_t place);
void report_missing_fence(const Access& a, uint64_t offset, bool write, uint64_t other,
                          uint32_t place);
// Shared memory declared dead at a barrier while the copy `other` writes to it.
void report_reuse(uint64_t offset, uint64_t other, uint32_t place, simt_site at);

}  // namespace simt
