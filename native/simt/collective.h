// collective.h - lanes of a warp that do something together.
//
// A lane leaves its operands in the warp and waits; the last lane of the mask does the work for all
// and the others read their results when they run again. Operands and results are separate buffers,
// since a fast lane brings operands for the next instruction before a slow one has read the last
// result.
#pragma once
#include "machine.h"
#include "schedule.h"

namespace simt {

// The gathering of this mask, a new one, or a report.
Gathering& find_gathering(Warp& warp, Op op, uint32_t mask, simt_site at);

// The same; usually there is one, and the lane is the next that comes to it.
inline Gathering& gathering_for(Warp& warp, Op op, uint32_t mask, simt_site at) {
  Gathering& g = warp.gathering[0];
  const bool same = warp.gathering_count == 1 && g.at == at && g.mask == mask && g.op == op;
  if (SIMT_LIKELY(same && (mask >> current->lane & 1))) return g;
  return find_gathering(warp, op, mask, at);
}

// The running lane waits for the others of its warp.
inline void wait_for_lanes(Warp& warp, uint32_t mine, simt_site at) {
  current->wait = Wait::collective;
  current->at = at;
  warp.ready &= ~mine;
  if (SIMT_LIKELY(warp.ready && machine.config.policy != Policy::random)) {
    switch_to(warp.lanes[next_lane(warp.ready, current->lane)]);
    return;
  }
  if (!warp.ready) machine.ready_warps &= ~(1u << warp.id);
  yield();
}

// The last lane has come: the work is done and all are ready.
template <class Work>
__attribute__((noinline)) void complete(Warp& warp, Gathering& g, const Work& work) {
  const uint32_t mask = g.mask;
  g = warp.gathering[--warp.gathering_count];
  machine.counters.collectives++;
  work(warp, mask);
  for (uint32_t m = mask & ~(1u << current->lane); m; m &= m - 1) {
    warp.lanes[lowest_lane(m)].wait = Wait::ready;
  }
  warp.ready |= mask;
  machine.ready_warps |= 1u << warp.id;
  schedule_point();
}

// Waits for the lanes of the mask; `work(warp, mask)` is done once, by the last of them. Callers look
// up what they need afterwards from `current` again, so that nothing has to be saved around a switch
// but what the switch itself saves.
template <class Work>
inline __attribute__((always_inline)) void collective(Op op, uint32_t mask, simt_site at,
                                                      const Work& work) {
  Warp& warp = *current->warp;
  const uint32_t mine = 1u << current->lane;
  Gathering& g = gathering_for(warp, op, mask, at);
  g.arrived |= mine;
  if (g.arrived == mask) {
    complete(warp, g, work);
  } else {
    wait_for_lanes(warp, mine, at);
  }
}

}  // namespace simt
