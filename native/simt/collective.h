// collective.h - lanes of a warp that do something together.
//
// A lane leaves its operands in the warp and waits; the last lane of the mask does the work for all
// and the others read their results when they run again. Operands and results are separate buffers,
// since a fast lane brings operands for the next instruction before a slow one has read the last
// result.
//
// Results are read by a second call (simt_result() and its like), so that the first one can end
// with the switch to another lane and nothing returns after it: a return that follows a switch goes
// where another lane was called from, and the processor predicts it wrongly every time.
#pragma once
#include "machine.h"
#include "schedule.h"

namespace simt {

using Work = void (*)(Warp& warp, uint32_t mask);

// The gathering of this mask, a new one, or a report.
Gathering& find_gathering(Warp& warp, Op op, uint32_t mask, simt_site at);

// The running lane waits for the others of its warp.
inline __attribute__((always_inline)) void wait_for_lanes(Warp& warp, uint32_t mine, simt_site at) {
  Thread& self = *current;
  Thread& neighbour = *self.neighbour;
  self.at = at;
  warp.ready &= ~mine;
  if (SIMT_LIKELY(warp.ready >> neighbour.lane & 1)) {
    switch_to(neighbour);
    return;
  }
  if (warp.ready && machine.config.policy != Policy::random) {
    switch_to(warp.lanes[next_lane(warp.ready, self.lane)]);
    return;
  }
  if (!warp.ready) machine.ready_warps &= ~(1u << warp.id);
  yield();
}

// The last lane has come: the work is done and all are ready.
template <Work work>
__attribute__((noinline)) void complete(Warp& warp, Gathering& g) {
  const uint32_t mask = g.mask;
  g = warp.gathering[--warp.gathering_count];
  work(warp, mask);
  warp.ready |= mask;
  machine.ready_warps |= 1u << warp.id;
  schedule_point();
}

template <Work work>
inline __attribute__((always_inline)) void arrive(Warp& warp, Gathering& g, simt_site at) {
  const uint32_t mine = 1u << current->lane;
  g.arrived |= mine;
  if (g.arrived == g.mask) {
    complete<work>(warp, g);
  } else {
    wait_for_lanes(warp, mine, at);
  }
}

template <Work work>
__attribute__((noinline)) void arrive_first(Op op, uint32_t mask, simt_site at) {
  Warp& warp = *current->warp;
  arrive<work>(warp, find_gathering(warp, op, mask, at), at);
}

// Waits for the lanes of the mask; `work` is done once, by the last of them.
template <Work work>
inline __attribute__((always_inline)) void collective(Op op, uint32_t mask, simt_site at) {
  Warp& warp = *current->warp;
  Gathering& g = warp.gathering[0];  // usually the only one, and the lane is the next to come to it
  const bool same = warp.gathering_count == 1 && g.at == at && g.mask == mask && g.op == op;
  if (SIMT_LIKELY(same && (mask >> current->lane & 1))) {
    arrive<work>(warp, g, at);
  } else {
    arrive_first<work>(op, mask, at);
  }
}

}  // namespace simt
