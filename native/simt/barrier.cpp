// barrier.cpp - __syncthreads and named barriers.
//
// __syncthreads is checked as CUDA defines it: conditional code may contain it only if all threads
// of the block that have not exited take the same path, so all must arrive at one source line.
// Named barriers (PTX ISA, "bar, barrier") count threads, whole warps at a time, and may be reached
// at different lines: that is how producers and consumers use them.
#include <cstring>

#include "arena.h"
#include "clock.h"
#include "machine.h"
#include "report.h"
#include "schedule.h"
#include "shadow.h"

namespace simt {
namespace {

// What unwritten memory holds in both builds: NaN as f32 and as f16, and an index far out of range.
constexpr int kUnwritten = 0xff;

// The region that a __syncthreads declared dead: no copy may still write to it.
void apply_fresh(const Thread& witness) {
  const auto begin = reinterpret_cast<uint64_t>(machine.fresh);
  const uint64_t end = begin + machine.fresh_bytes;
  for (const BulkCopy& copy : machine.bulk) {
    const auto to = reinterpret_cast<uint64_t>(copy.to);
    if (kChecked || to >= end || to + copy.bytes <= begin) continue;  // see shadow_fresh
    if (report_again("race", Place::of(machine.barrier_at), Place::of(copy.at))) continue;
    report("race", Place::of(machine.barrier_at),
           format("the region is reused at this barrier while a copy issued at %s is still writing "
                  "to it",
                  kThere),
           Place::of(copy.at));
  }
  if constexpr (kChecked) shadow_fresh(begin, machine.fresh_bytes, witness, machine.barrier_at);
  if (outside_bytes(begin, machine.fresh_bytes) == 0) {
    std::memset(machine.fresh, kUnwritten, machine.fresh_bytes);
  }
  machine.fresh = nullptr;
  machine.fresh_bytes = 0;
}

void release_barrier() {
  Thread* waiting[kThreadsMax];
  uint32_t count = 0;
  for (uint32_t t = 0; t < machine.threads; t++) {
    if (machine.thread[t].wait == Wait::block) waiting[count++] = &machine.thread[t];
  }
  machine.barrier_arrived = 0;
  if constexpr (kChecked) {
    if (count) clocks_join(waiting, count);
  }
  for (uint32_t i = 0; i < count; i++) make_ready(*waiting[i]);
  if (machine.fresh_bytes && count) apply_fresh(*waiting[0]);
}

void check_named(uint32_t id, uint32_t threads, simt_site at) {
  if (id == 0 || id >= kNamedBarriers) {
    report_fatal("barrier misuse", at,
                 format("%s uses barrier %u; 1 to %u are possible, 0 is that of __syncthreads",
                        describe_current().c_str(), id, kNamedBarriers - 1));
  }
  if (threads == 0 || threads % kWarpSize != 0 || threads > machine.warps * kWarpSize) {
    report_fatal("barrier misuse", at,
                 format("%s uses barrier %u for %u threads; whole warps of the block's %u threads "
                        "are required",
                        describe_current().c_str(), id, threads, machine.threads));
  }
  const NamedBarrier& b = machine.named[id];
  if (b.expected != 0 && b.expected != threads) {
    report_fatal(
        "barrier misuse", at,
        format("%s uses barrier %u for %u threads, which others use for %u at %s",
               describe_current().c_str(), id, threads, b.expected, describe(b.at).c_str()));
  }
  if (b.lanes[current->warp->id] >> current->lane & 1) {
    report_fatal("barrier misuse", at,
                 format("%s arrives at barrier %u a second time before it is complete",
                        describe_current().c_str(), id));
  }
}

void complete_named(uint32_t id) {
  NamedBarrier& b = machine.named[id];
  for (uint32_t t = 0; t < machine.threads; t++) {
    Thread& thread = machine.thread[t];
    if (thread.wait != Wait::named || thread.phase != id) continue;
    if constexpr (kChecked) clock_acquire(thread, b.clock);
    make_ready(thread);
  }
  if constexpr (kChecked) clock_drop(b.clock);
  b = {};
}

}  // namespace

void barriers_start() {
  machine.barrier_arrived = 0;
  machine.fresh = nullptr;
  machine.fresh_bytes = 0;
  if (!machine.named_in_use) return;
  machine.named_in_use = false;
  for (NamedBarrier& b : machine.named) {
    if constexpr (kChecked) clock_drop(b.clock);
    b = {};
  }
}

void release_barrier_if_full() {
  if (machine.barrier_arrived == machine.alive) release_barrier();
}

bool barriers_split_warp() {
  for (const NamedBarrier& b : machine.named) {
    for (uint32_t w = 0; w < machine.warps; w++) {
      if (b.lanes[w] != 0 && (machine.warp[w].alive & ~b.lanes[w])) return true;
    }
  }
  return false;
}

void barriers_check_thread_exit() {
  if (SIMT_LIKELY(!machine.named_in_use)) return;
  const uint32_t w = current->warp->id, mine = 1u << current->lane;
  for (uint32_t id = 1; id < kNamedBarriers; id++) {
    const NamedBarrier& b = machine.named[id];
    if (b.lanes[w] == 0 || (b.lanes[w] & mine)) continue;
    report_fatal(
        "divergence", b.at,
        format("%s exits while lanes %08x of its warp are at barrier %u; a warp arrives as "
               "a whole",
               describe_current().c_str(), b.lanes[w], id));
  }
}

void barriers_check_exit() {
  for (uint32_t id = 0; id < kNamedBarriers; id++) {
    const NamedBarrier& b = machine.named[id];
    if (b.expected == 0 || report_again("barrier misuse", Place::of(b.at))) continue;
    report("barrier misuse", b.at,
           format("block (%u,%u,%u) exits with %u of %u threads arrived at barrier %u",
                  machine.block[0], machine.block[1], machine.block[2], b.arrived, b.expected, id));
  }
}

}  // namespace simt

using namespace simt;

void simt_syncthreads(simt_site at) {
  if (machine.barrier_arrived != 0 && machine.barrier_at != at) {
    report_fatal("divergence", at,
                 format("%s executes __syncthreads while %u threads wait in the one at %s; all "
                        "threads of the block must execute the same one",
                        describe_current().c_str(), machine.barrier_arrived,
                        describe(machine.barrier_at).c_str()));
  }
  machine.barrier_at = at;
  set_waiting(Wait::block, at);
  if (++machine.barrier_arrived == machine.alive) {
    release_barrier();
    schedule_point();
  } else {
    yield();
  }
}

void simt_syncthreads_fresh(void* p, size_t bytes, simt_site at) {
  machine.fresh = p;
  machine.fresh_bytes = bytes;
  simt_syncthreads(at);
}

void simt_barrier(uint32_t id, uint32_t threads, bool wait, simt_site at) {
  check_named(id, threads, at);
  machine.named_in_use = true;
  NamedBarrier& b = machine.named[id];
  if (b.expected == 0) {
    b.expected = threads;
    b.at = at;
    if constexpr (kChecked) b.clock = clock_zero();
  }
  if constexpr (kChecked) clock_release(*current, b.clock);
  const Warp& warp = *current->warp;
  b.lanes[warp.id] |= 1u << current->lane;
  if (!(warp.alive & ~b.lanes[warp.id])) b.arrived += kWarpSize;
  const bool last = b.arrived == b.expected;
  if (wait) {
    set_waiting(Wait::named, at);
    current->phase = id;
  }
  if (last) complete_named(id);
  if (wait && !last) {
    yield();
  } else {
    schedule_point();
  }
}
