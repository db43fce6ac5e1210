// shadow.h - what the checked build remembers of every word of device memory, and what it
// concludes.
//
// One cell of 32 bytes for each 4-byte word: the last write, the readers since, which bytes may be
// accessed and which hold a value. An access is compared with both by vector clocks (clock.h):
//   out of bounds        the byte is in no allocation, in a redzone, or beyond the block's shared
//                        memory
//   uninitialised read   nothing in this launch or before has written the byte (shared memory: in
//                        this block)
//   race                 the earlier access is not ordered before this one, in this schedule or
//                        another
//   race between blocks  the same, with an access in another block of the launch
//   missing fence        a bulk copy follows a plain write without a proxy fence between them
//
// Sub-word accesses are exact: entries carry a mask of bytes, and what does not fit in the cell
// goes to a list. Cells carry the generation (number of the block or host call) in which they were
// last touched; older ones are brought up to date on first touch, so nothing is cleared between
// blocks or cases. Two atomics never race with each other.
#pragma once
#include <cstdint>

#include "clock.h"

namespace simt {

// A copy engine's access, made by the running thread.
struct AsyncAccess {
  uint32_t slot, time;  // see clock.h
  simt_site at;
};

// Reserves the shadow of an arena of `span` bytes.
bool shadow_open(uint64_t span);
void shadow_reset();
// At the start of a block: nothing of an earlier block is remembered in lists.
void shadow_block();

// Checks and records an access of the kernel. `pc` is the return address into instrumented code.
void shadow_read(uint64_t address, uint32_t size, uint64_t pc);
void shadow_write(uint64_t address, uint32_t size, uint64_t pc);
// The same for what the emulator does for the running thread at a place of the source.
void shadow_read_at(uint64_t address, uint32_t size, simt_site at);
void shadow_atomic(uint64_t address, uint32_t size, int kind, simt_site at);
void shadow_async(uint64_t address, uint32_t size, bool write, const AsyncAccess& access);

// The word pair becomes an mbarrier, which no plain access may touch.
void shadow_mbarrier(uint64_t address, simt_site at);
// Shared memory whose contents are dead from here on. No copy may still write to it: `witness` is a
// thread that has passed the barrier.
void shadow_fresh(uint64_t address, uint64_t bytes, const Thread& witness, simt_site at);

}  // namespace simt
