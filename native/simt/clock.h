// clock.h - vector clocks: what is ordered before the next access of a thread (checked build only).
//
// A clock has one entry for each source of accesses, numbered (its "slot"):
//   t                    thread t; its time is that of its warp, Warp::time
//   threads + t          the cp.async copies of thread t; time = number of the commit group
//   2 threads + b        the bulk copies on mbarrier b; time = number of the phase, from 1
// An access of slot s at time n is ordered before thread t if t's clock has at least n at s. Own
// accesses always are. All lanes of a warp share a time: advancing it without publishing it is
// harmless, and then one word describes a read by many lanes (shadow.h). Clocks are shared by
// reference between threads that synchronised with each other, so a barrier costs one clock, not
// one for each thread.
#pragma once
#include <cstdint>

#include "machine.h"

namespace simt {

constexpr uint32_t kSlotsMax = 2 * kThreadsMax + kMbarriersMax;

struct Clock {
  uint32_t references;
  uint32_t time[kSlotsMax];  // (slots in use)
};

inline uint32_t slots() { return 2 * machine.threads + kMbarriersMax; }
inline uint32_t copy_slot(uint32_t thread) { return machine.threads + thread; }
inline uint32_t mbarrier_slot(uint32_t index) { return 2 * machine.threads + index; }

Clock* clock_zero();
Clock* clock_copy(const Clock* from);
void clock_drop(Clock* clock);

// Gives every thread of the block the empty clock, and warps the time 1.
void clocks_start();
void clocks_end();

// True if the access of `slot` at `time` is ordered before `thread`.
inline bool ordered(const Thread& thread, uint32_t slot, uint32_t time) {
  if (slot == thread.id) return true;
  if (slot == copy_slot(thread.id)) return time <= thread.groups_done;
  return time <= thread.clock->time[slot];
}

// All of them release to and acquire from each other. `threads` is (count).
void clocks_join(Thread* const* threads, uint32_t count);
void clocks_join(Warp& warp, uint32_t lanes);

// Adds what the thread knows and has done to a clock, and advances its time.
void clock_release(Thread& thread, Clock* into);
// Adds the clock to what the thread knows.
void clock_acquire(Thread& thread, Clock* from);

}  // namespace simt
