// collective.cpp - what the lanes of a warp do together: mma, movmatrix, shuffles, votes,
// __syncwarp.
//
// A lane leaves its operands in the warp and waits; the last lane of the mask does the work for all
// and the others read their results when they run again. Operands and results are separate buffers,
// since a fast lane brings operands for the next instruction before a slow one has read the last
// result.
//
// Checked in both builds: all lanes of a mask execute the same operation at the same source line
// with the same mask (a line, not an address: a compiler may duplicate code for some lanes), the
// caller is in its mask, and no lane of the mask has exited. __syncwarp alone may be reached at
// different lines. mma, movmatrix and shuffles order no memory accesses; __syncwarp does.
#include "../mma/convert.h"
#include "clock.h"
#include "machine.h"
#include "report.h"
#include "runtime.h"
#include "schedule.h"

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

// The gathering of this mask, a new one, or a report.
Gathering& gathering_for(Warp& warp, Op op, uint32_t mask, simt_site at) {
  for (uint32_t i = 0; i < warp.gathering_count; i++) {
    Gathering& g = warp.gathering[i];
    const bool same = g.op == op && (g.at == at || op == Op::syncwarp);
    if (SIMT_LIKELY(g.mask == mask && same)) return g;
    if (SIMT_UNLIKELY(g.mask & mask)) diverged(g, op, mask, at);
  }
  if (SIMT_UNLIKELY(mask & ~warp.alive || !(mask >> current->lane & 1))) bad_mask(op, mask, at);
  Gathering& g = warp.gathering[warp.gathering_count++];
  g = {at, mask, 0, op};
  return g;
}

// Waits for the lanes of the mask; `work(warp, mask)` is done once, by the last of them.
template <class Work>
inline __attribute__((always_inline)) void collective(Op op, uint32_t mask, simt_site at,
                                                      Work&& work) {
  Warp& warp = *current->warp;
  const uint32_t mine = 1u << current->lane;
  Gathering& g = gathering_for(warp, op, mask, at);
  if (SIMT_UNLIKELY(!(mask & mine))) bad_mask(op, mask, at);
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

constexpr Op op_of(Mma kind) {
  return kind == Mma::f16_f32 ? Op::mma_f16_f32 : kind == Mma::bf16_f32 ? Op::mma_bf16_f32 : Op::mma_f16_f16;
}

// Rows of an 8x8 matrix of halves become columns: lane 4r + c holds elements (r, 2c) and (r, 2c +
// 1).
void transpose(Warp& warp) {
  for (uint32_t lane = 0; lane < kWarpSize; lane++) {
    const uint32_t column = lane >> 2, row = 2 * (lane & 3), shift = 16 * (column & 1);
    const uint32_t low = warp.in[4 * row + (column >> 1)] >> shift & 0xffff;
    const uint32_t high = warp.in[4 * (row + 1) + (column >> 1)] >> shift & 0xffff;
    warp.out[lane] = low | high << 16;
  }
}

}  // namespace

}  // namespace simt

using namespace simt;

// PTX ISA, figures "m16n8k16 fragment layout for .f16": lane = 4 g + c holds rows g and g + 8 of A
// and C, k = 2c, 2c + 1 and 8 more, and column g of B. Storage order is that of mma::Tile.
template <Mma kind>
inline __attribute__((always_inline)) simt_f32x4 mma_sync(simt_f32x4 c, uint32_t a0, uint32_t a1,
                                                          uint32_t a2, uint32_t a3, uint32_t b0,
                                                          uint32_t b1, simt_site at) {
  mma::Tile& tile = current->warp->tile;
  const uint32_t g = current->lane >> 2, pair = current->lane & 3, column = 2 * pair;
  tile.a[pair][g] = a0;
  tile.a[pair][g + 8] = a1;
  tile.a[pair + 4][g] = a2;
  tile.a[pair + 4][g + 8] = a3;
  tile.b[g][pair] = b0;
  tile.b[g][pair + 4] = b1;
  float* const from = &tile.c[column][g];
  from[0] = c[0];
  from[16] = c[1];
  from[8] = c[2];
  from[24] = c[3];
  collective(op_of(kind), ~0u, at, [](Warp& warp, uint32_t) {
    machine.tile[static_cast<int>(kind)](warp.tile);
    machine.counters.mmas++;
  });
  const float* const d = &tile.d[column][g];
  return simt_f32x4{d[0], d[16], d[8], d[24]};
}

simt_f32x4 simt_mma_f16_f32(simt_f32x4 c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                            uint32_t b0, uint32_t b1, simt_site at) {
  return mma_sync<Mma::f16_f32>(c, a0, a1, a2, a3, b0, b1, at);
}

simt_f32x4 simt_mma_bf16_f32(simt_f32x4 c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                             uint32_t b0, uint32_t b1, simt_site at) {
  return mma_sync<Mma::bf16_f32>(c, a0, a1, a2, a3, b0, b1, at);
}

uint64_t simt_mma_f16_f16(uint64_t c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                          uint32_t b0, uint32_t b1, simt_site at) {
  simt_f32x4 wide;
  for (int i = 0; i < 4; i++) {
    const auto half = static_cast<uint16_t>(c >> 16 * i);
    wide[i] = __builtin_bit_cast(float, mma::f32_from_f16(half));
  }
  wide = mma_sync<Mma::f16_f16>(wide, a0, a1, a2, a3, b0, b1, at);
  uint64_t d = 0;
  for (int i = 0; i < 4; i++) {
    d |= static_cast<uint64_t>(mma::f16_from_f32(__builtin_bit_cast(uint32_t, wide[i]))) << 16 * i;
  }
  return d;
}

uint32_t simt_movmatrix_trans(uint32_t x, simt_site at) {
  Warp& warp = *current->warp;
  warp.in[current->lane] = x;
  collective(Op::movmatrix, ~0u, at, [](Warp& w, uint32_t) { transpose(w); });
  return warp.out[current->lane];
}

uint32_t simt_shfl_xor(uint32_t v, int offset, uint32_t mask, simt_site at) {
  Warp& warp = *current->warp;
  const uint32_t lane = current->lane;
  const uint32_t source = lane ^ static_cast<uint32_t>(offset);
  if (SIMT_UNLIKELY(source >= kWarpSize || !(mask >> source & 1))) {
    report_fatal("divergence", at,
                 format("%s reads lane %u in a shuffle with mask %08x, which does not name it",
                        describe_current().c_str(), source, mask));
  }
  warp.in[lane] = v;
  warp.source[lane] = source;
  collective(Op::shfl, mask, at, [](Warp& w, uint32_t m) {
    for (; m; m &= m - 1) w.out[lowest_lane(m)] = w.in[w.source[lowest_lane(m)]];
  });
  return warp.out[lane];
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
  const uint32_t ballot = warp.out[current->lane];
  if (kind == SIMT_VOTE_BALLOT) return ballot;
  return kind == SIMT_VOTE_ANY ? ballot != 0 : ballot == mask;
}

void simt_syncwarp(uint32_t mask, simt_site at) {
  collective(Op::syncwarp, mask, at, [](Warp& warp, uint32_t m) {
    if constexpr (kChecked) clocks_join(warp, m);
  });
}
