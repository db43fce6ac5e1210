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
Gathering& gathering_for(Warp& warp, Op op, uint32_t mask, simt_site at);

// Waits for the lanes of the mask; `work(warp, mask)` is done once, by the last of them.
template <class Work>
inline __attribute__((always_inline)) void collective(Op op, uint32_t mask, simt_site at,
                                                      Work&& work) {
  Warp& warp = *current->warp;
  const uint32_t mine = 1u << current->lane;
  Gathering& g = gathering_for(warp, op, mask, at);
  g.arrived |= mine;
  if (g.arrived == mask) {
    g = warp.gathering[--warp.gathering_count];
    machine.counters.collectives++;
    work(warp, mask);
    for (uint32_t m = mask & ~mine; m; m &= m - 1) {
      warp.lanes[lowest_lane(m)].wait = Wait::ready;
    }
    warp.ready |= mask;
    machine.ready_warps |= 1u << warp.id;
    schedule_point();
    return;
  }
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

}  // namespace simt
