// collective.cpp - see collective.h; and shuffles, votes, reductions, __syncwarp.
//
// Checked in both builds: all lanes of a mask execute the same operation at the same source line
// with the same mask (a line, not an address: a compiler may duplicate code for some lanes), the
// caller is in its mask, and no lane of the mask has exited. __syncwarp alone may be reached at
// different lines. mma, movmatrix, votes and shuffles order no memory accesses; __syncwarp does.
#include "collective.h"

#include <algorithm>

#include "clock.h"
#include "report.h"
#include "runtime.h"

namespace simt {
namespace {

SIMT_COLD void diverged(const Gathering& g, Op op, uint32_t mask, simt_site at) {
  report_fatal("divergence", at,
               format("%s executes %s with mask %08x while lanes %08x of its warp wait in %s with "
                      "mask %08x at %s; all lanes of a mask must execute the same instruction",
                      describe_current().c_str(), name_of(op), mask, g.arrived, name_of(g.op),
                      g.mask, describe(g.at).c_str()));
}

SIMT_COLD void bad_mask(Op op, uint32_t mask, simt_site at) {
  const Warp& warp = *current->warp;
  if (!(mask >> current->lane & 1)) {
    report_fatal("divergence", at,
                 format("%s executes %s with mask %08x, which does not name its own lane",
                        describe_current().c_str(), name_of(op), mask));
  }
  report_fatal("divergence", at,
               format("%s executes %s with mask %08x, but only lanes %08x of its warp have not "
                      "exited",
                      describe_current().c_str(), name_of(op), mask, warp.alive));
}

}  // namespace

Gathering& find_gathering(Warp& warp, Op op, uint32_t mask, simt_site at) {
  if (SIMT_UNLIKELY(!(mask >> current->lane & 1))) bad_mask(op, mask, at);
  for (uint32_t i = 0; i < warp.gathering_count; i++) {
    Gathering& g = warp.gathering[i];
    const bool same = g.op == op && (g.at == at || op == Op::syncwarp);
    if (SIMT_LIKELY(g.mask == mask && same)) return g;
    if (SIMT_UNLIKELY(g.mask & mask)) diverged(g, op, mask, at);
  }
  if (SIMT_UNLIKELY(mask & ~warp.alive)) bad_mask(op, mask, at);
  Gathering& g = warp.gathering[warp.gathering_count++];
  g = {at, mask, 0, op};
  return g;
}

}  // namespace simt

using namespace simt;

uint32_t simt_shfl(int kind, uint32_t v, int operand, uint32_t mask, simt_site at) {
  Warp& warp = *current->warp;
  const int lane = static_cast<int>(current->lane);
  int source = lane;
  switch (kind) {
    case SIMT_SHFL_XOR:
      source = lane ^ operand;
      break;
    case SIMT_SHFL_UP:
      if (lane - operand >= 0) source = lane - operand;
      break;
    case SIMT_SHFL_DOWN:
      if (lane + operand < static_cast<int>(kWarpSize)) source = lane + operand;
      break;
    default:
      source = operand & 31;
  }
  if (SIMT_UNLIKELY(source < 0 || source > 31 || !(mask >> source & 1))) {
    report_fatal("divergence", at,
                 format("%s reads lane %d in a shuffle with mask %08x, which does not name it",
                        describe_current().c_str(), source, mask));
  }
  warp.in[lane] = v;
  warp.source[lane] = static_cast<uint32_t>(source);
  collective(Op::shfl, mask, at, [](Warp& w, uint32_t m) {
    for (; m; m &= m - 1) w.out[lowest_lane(m)] = w.in[w.source[lowest_lane(m)]];
  });
  return current->warp->out[current->lane];
}

uint32_t simt_redux(int kind, uint32_t v, uint32_t mask, simt_site at) {
  Warp& warp = *current->warp;
  warp.in[current->lane] = v;
  collective(Op::redux, mask, at, [kind](Warp& w, uint32_t m) {
    uint32_t total = w.in[lowest_lane(m)];
    for (uint32_t left = m & (m - 1); left; left &= left - 1) {
      const uint32_t next = w.in[lowest_lane(left)];
      total = kind == SIMT_REDUX_ADD   ? total + next
              : kind == SIMT_REDUX_MIN ? std::min(total, next)
                                       : std::max(total, next);
    }
    for (uint32_t left = m; left; left &= left - 1) w.out[lowest_lane(left)] = total;
  });
  return current->warp->out[current->lane];
}

uint32_t simt_vote(int kind, bool predicate, uint32_t mask, simt_site at) {
  Warp& warp = *current->warp;
  warp.in[current->lane] = predicate;
  collective(Op::vote, mask, at, [](Warp& w, uint32_t m) {
    uint32_t ballot = 0;
    for (uint32_t left = m; left; left &= left - 1) {
      ballot |= w.in[lowest_lane(left)] << lowest_lane(left);
    }
    for (uint32_t left = m; left; left &= left - 1) w.out[lowest_lane(left)] = ballot;
  });
  const uint32_t ballot = current->warp->out[current->lane];
  if (kind == SIMT_VOTE_BALLOT) return ballot;
  return kind == SIMT_VOTE_ANY ? ballot != 0 : ballot == mask;
}

void simt_syncwarp(uint32_t mask, simt_site at) {
  collective(Op::syncwarp, mask, at, [](Warp& warp, uint32_t m) {
    if constexpr (kChecked) clocks_join(warp, m);
  });
}
