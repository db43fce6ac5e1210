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

SIMT_COLD void bad_source(int source, uint32_t mask, simt_site at) {
  report_fatal("divergence", at,
               format("%s reads lane %d in a shuffle with mask %08x, which does not name it",
                      describe_current().c_str(), source, mask));
}

// ---- what the last lane does ----

void exchange(Warp& warp, uint32_t mask) {
  for (uint32_t m = mask; m; m &= m - 1) {
    warp.out[lowest_lane(m)] = warp.in[warp.source[lowest_lane(m)]];
  }
}

void reduce(Warp& warp, uint32_t mask) {
  uint32_t total = warp.in[lowest_lane(mask)];
  for (uint32_t left = mask & (mask - 1); left; left &= left - 1) {
    const uint32_t next = warp.in[lowest_lane(left)];
    total = warp.kind == SIMT_REDUX_ADD   ? total + next
            : warp.kind == SIMT_REDUX_MIN ? std::min(total, next)
                                          : std::max(total, next);
  }
  for (uint32_t left = mask; left; left &= left - 1) warp.out[lowest_lane(left)] = total;
}

void ballot(Warp& warp, uint32_t mask) {
  uint32_t votes = 0;
  for (uint32_t left = mask; left; left &= left - 1) {
    votes |= warp.in[lowest_lane(left)] << lowest_lane(left);
  }
  for (uint32_t left = mask; left; left &= left - 1) warp.out[lowest_lane(left)] = votes;
}

void join_clocks(Warp& warp, uint32_t mask) {
  if constexpr (kChecked) clocks_join(warp, mask);
}

}  // namespace

// Several may wait at once: lanes that are done with a part of the warp go on to what they have in
// common with the rest. Two that wait for each other's lanes never end.
Gathering& find_gathering(Warp& warp, Op op, uint32_t mask, simt_site at) {
  const uint32_t lane = current->lane;
  if (SIMT_UNLIKELY(!(mask >> lane & 1))) bad_mask(op, mask, at);
  Gathering* mine = nullptr;
  for (uint32_t i = 0; i < warp.gathering_count; i++) {
    Gathering& g = warp.gathering[i];
    if (g.op == op && g.mask == mask && (g.at == at || op == Op::syncwarp)) {
      mine = &g;
    } else if (SIMT_UNLIKELY((g.mask >> lane & 1) && (g.arrived & mask))) {
      diverged(g, op, mask, at);
    }
  }
  if (mine != nullptr) return *mine;
  if (SIMT_UNLIKELY(mask & ~warp.alive)) bad_mask(op, mask, at);
  Gathering& g = warp.gathering[warp.gathering_count++];
  g = {at, mask, 0, op};
  return g;
}

}  // namespace simt

using namespace simt;

void simt_shfl(int kind, uint32_t v, int operand, uint32_t mask, simt_site at) {
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
    bad_source(source, mask, at);
    return;
  }
  warp.in[lane] = v;
  warp.source[lane] = static_cast<uint32_t>(source);
  collective<exchange>(Op::shfl, mask, at);
}

void simt_redux(int kind, uint32_t v, uint32_t mask, simt_site at) {
  Warp& warp = *current->warp;
  warp.in[current->lane] = v;
  warp.kind = kind;
  collective<reduce>(Op::redux, mask, at);
}

void simt_vote(bool predicate, uint32_t mask, simt_site at) {
  current->warp->in[current->lane] = predicate;
  collective<ballot>(Op::vote, mask, at);
}

uint32_t simt_result() { return current->warp->out[current->lane]; }

void simt_syncwarp(uint32_t mask, simt_site at) { collective<join_clocks>(Op::syncwarp, mask, at); }
