// clock.h - vector clocks: what is ordered before the next access of a thread (checked build only).
//
// A clock has one entry for each source of accesses, numbered (its "slot"):
//   t                    thread t; its time is that of its warp, Warp::time
//   threads + t          the cp.async copies of thread t; time = number of the commit group
//   2 threads + b        the bulk copies on mbarrier b; time = number of the phase, from 1
// Accesses of two more kinds have slots of their own but no entry:
//   kAtomicSlot + t      atomics of thread t, ordered as its other accesses are
// An access of slot s at time n is ordered before thread t if t's clock has at least n at s. Own
// accesses always are. All lanes of a warp share a time: advancing it without publishing it is
// harmless, and then one word describes a read by many lanes (shadow.h). Clocks are shared by
// reference between threads that synchronised with each other, so a barrier costs one clock, not
// one for each thread.
//
// Four things travel with a clock wherever it goes:
//   fenced     what a fence.proxy.async has made visible to bulk copies: the clock of the thread
//              that executed it, at that moment. A bulk copy is ordered after a plain write only if
//              the write is in there (PTX ISA, "Async proxy").
//   released   the same for a __threadfence: what an atomic from here on hands to other blocks
//   pending    what atomics have read and the next __threadfence makes known
//   blocks     what is known of earlier blocks of the launch
// That the last three travel through barriers, so that one thread may fence for all, is more than
// the PTX memory model grants, and what GPUs do.
#pragma once
#include <cstdint>
#include <vector>

#include "machine.h"

namespace simt {

constexpr uint32_t kSlotsMax = 2 * kThreadsMax + kMbarriersMax;
constexpr uint32_t kAtomicSlot = kSlotsMax;

struct Clock;

// A clock of another block, by the generation of that block.
struct BlockClock {
  uint32_t generation;
  Clock* clock;
};

struct Clock {
  uint32_t references;
  Clock *fenced, *released, *pending;  // or null; these have none of their own
  std::vector<BlockClock> blocks;      // ascending generations
  uint32_t time[kSlotsMax];            // (slots in use)
};

inline uint32_t slots() { return 2 * machine.threads + kMbarriersMax; }
inline uint32_t copy_slot(uint32_t thread) { return machine.threads + thread; }
inline uint32_t mbarrier_slot(uint32_t index) { return 2 * machine.threads + index; }
inline bool is_atomic_slot(uint32_t slot) { return slot >= kAtomicSlot; }
// The slot whose time orders an access of `slot`.
inline uint32_t entry_of(uint32_t slot) { return slot >= kAtomicSlot ? slot - kAtomicSlot : slot; }

Clock* clock_zero();
Clock* clock_copy(const Clock* from);
void clock_drop(Clock* clock);
// Adds what `other` knows; null adds nothing.
void clock_raise(Clock* clock, const Clock* other);

// Gives every thread of the block the empty clock, and warps the time 1.
void clocks_start();
void clocks_end();

// True if the access of `slot` at `time` is ordered before `thread`.
inline bool ordered(const Thread& thread, uint32_t slot, uint32_t time) {
  const uint32_t entry = entry_of(slot);
  if (entry == thread.id) return true;
  if (entry == copy_slot(thread.id)) return time <= thread.groups_done;
  return time <= thread.clock->time[entry];
}
// The same for an access in an earlier block of this launch.
bool ordered_in_block(const Thread& thread, uint32_t generation, uint32_t slot, uint32_t time);
// True if a bulk copy issued by the thread sees what thread `slot` wrote at `time` in this block.
inline bool fenced(const Thread& thread, uint32_t slot, uint32_t time) {
  const Clock* known = thread.clock->fenced;
  return known != nullptr && time <= known->time[entry_of(slot)];
}

// All of them release to and acquire from each other. `threads` is (count).
void clocks_join(Thread* const* threads, uint32_t count);
void clocks_join(Warp& warp, uint32_t lanes);

// Adds what the thread knows and has done to a clock, and advances its time.
void clock_release(Thread& thread, Clock* into);
// Adds the clock to what the thread knows.
void clock_acquire(Thread& thread, Clock* from);
// A fence.proxy.async, and a __threadfence, of the thread.
void clock_fence_proxy(Thread& thread);
void clock_fence(Thread& thread);
// The thread has read by an atomic what `from` knows.
void clock_read_atomic(Thread& thread, const Clock* from);

}  // namespace simt
