// schedule.cpp - see schedule.h.
#include "schedule.h"

#include <algorithm>
#include <numeric>

#include "copy.h"
#include "report.h"

namespace simt {
namespace {

constexpr uint32_t kSwitchOneIn = 8;  // random: how often another warp is preferred
// Random copies: one moves at one point in 4, 32, 256 or 2048, drawn for each block. A warp passes
// 32 points at every collective, so the first is soon and the last is hardly ever.
constexpr uint32_t kLandOneIn = 4, kLandStep = 8, kLandSteps = 4;
constexpr uint32_t kPriorities = 1u << 20;

uint32_t nth_bit(uint32_t mask, uint32_t n) {
  while (n--) mask &= mask - 1;
  return lowest_lane(mask);
}

Warp* next_warp(uint32_t mask, uint32_t id) {
  const uint32_t after = mask & ~((2u << id) - 1);
  return &machine.warp[lowest_lane(after ? after : mask)];
}

Warp* highest_priority() {
  Warp* best = nullptr;
  for (uint32_t mask = machine.ready_warps; mask; mask &= mask - 1) {
    Warp* warp = &machine.warp[lowest_lane(mask)];
    if (best == nullptr || warp->priority > best->priority) best = warp;
  }
  return best;
}

Warp* choose_pct() {
  Warp* best = highest_priority();
  while (!machine.changes.empty() && machine.steps >= machine.changes.back()) {
    best->priority = --machine.lowest_priority;
    machine.changes.pop_back();
    best = highest_priority();
  }
  return best;
}

Warp* choose_warp(Warp* mine) {
  const Config& config = machine.config;
  switch (config.policy) {
    case Policy::round_robin:
      return mine->ready ? mine : next_warp(machine.ready_warps, mine->id);
    case Policy::random: {
      if (mine->ready && draw_below(kSwitchOneIn) != 0) return mine;
      const auto count = static_cast<uint32_t>(__builtin_popcount(machine.ready_warps));
      return &machine.warp[nth_bit(machine.ready_warps, draw_below(count))];
    }
    case Policy::starve: {
      uint32_t mask = machine.ready_warps;
      if (config.starved_warp < kWarpsMax && mask != 1u << config.starved_warp) {
        mask &= ~(1u << config.starved_warp);
      }
      return mask >> mine->id & 1 ? mine : next_warp(mask, mine->id);
    }
    case Policy::pct:
      return choose_pct();
  }
  return mine;
}

// Moves copies before a thread is chosen. Returns true if the choice has to start again.
bool move_copies() {
  const Config& config = machine.config;
  if (config.copies == Copies::random && draw_below(machine.land_one_in) == 0) land_something();
  if (config.policy != Policy::pct || machine.bulk.empty()) return false;
  const Warp* best = highest_priority();
  const int64_t priority = best ? best->priority : INT64_MIN;
  const BulkCopy* first = &machine.bulk[0];
  for (const BulkCopy& copy : machine.bulk) {
    if (copy.priority > first->priority) first = &copy;
  }
  if (first->priority <= priority) return false;
  land_bulk(static_cast<size_t>(first - machine.bulk.data()), UINT32_MAX);
  return true;
}

SIMT_COLD void deadlock() {
  const uint32_t* const block = machine.block;
  std::string text = format("no thread of block (%u,%u,%u) can run:", block[0], block[1], block[2]);
  const uint32_t count = machine.threads;
  for (uint32_t first = 0; first < count && text.size() < 900;) {
    const Thread& t = machine.thread[first];
    uint32_t last = first;
    while (last + 1 < count && (last + 1) % kWarpSize != 0 &&
           machine.thread[last + 1].wait == t.wait && machine.thread[last + 1].at == t.at) {
      last++;
    }
    text += format(" threads %u-%u %s", first, last, name_of(t.wait));
    if (t.at) text += " at " + describe(t.at);
    if (t.wait == Wait::mbarrier) {
      const Mbarrier& b = *t.barrier;
      text += format(
          " (phase %u of mbarrier #%u, which is in phase %u with %u arrivals and %lld "
          "bytes pending)",
          t.phase, b.index, b.phase, b.pending, static_cast<long long>(b.tx));
    }
    text += ";";
    if (t.wait == Wait::named) {
      const NamedBarrier& b = machine.named[t.phase];
      text += format(" (barrier %u, %u of %u threads)", t.phase, b.arrived, b.expected);
    }
    first = last + 1;
  }
  text.pop_back();
  simt_site at = 0;  // the place is that of the first thread that waits
  for (uint32_t i = 0; i < count && at == 0; i++) at = machine.thread[i].at;
  const bool split = barriers_split_warp();
  report_fatal(split ? "divergence" : "deadlock", at, std::move(text));
}

Thread* choose(const Thread* me) {
  for (;;) {
    if ((!machine.bulk.empty() || machine.copies_pending) && move_copies()) continue;
    if (machine.ready_warps == 0) {
      if (machine.bulk.empty()) deadlock();
      const bool ordered = machine.config.policy == Policy::round_robin;
      land_bulk(ordered ? 0 : draw_below(static_cast<uint32_t>(machine.bulk.size())), UINT32_MAX);
      continue;
    }
    machine.steps++;
    Warp* warp = choose_warp(me->warp);
    uint32_t lane;
    if (machine.config.policy == Policy::random) {
      lane =
          nth_bit(warp->ready, draw_below(static_cast<uint32_t>(__builtin_popcount(warp->ready))));
    } else {
      lane = next_lane(warp->ready, warp == me->warp ? me->lane : machine.descending ? 0 : 31);
    }
    machine.hash = (machine.hash ^ (warp->id << 5 | lane)) * 0x100000001b3u;  // FNV-1a
    return &warp->lanes[lane];
  }
}

}  // namespace

uint64_t draw() {  // splitmix64
  uint64_t z = machine.random += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

uint32_t draw_below(uint32_t n) { return static_cast<uint32_t>((draw() >> 32) * n >> 32); }

void schedule_launch() {
  // Launches of one configuration differ, but each depends on nothing else than seed and number.
  machine.random = machine.config.seed * 0x9e3779b97f4a7c15u + machine.launches;
  machine.steps_expected = 4000;
  machine.block_stride = 1;
  machine.block_offset = 0;
  const simt_launch_shape& s = machine.shape;
  const uint64_t blocks = uint64_t{s.grid_x} * s.grid_y * s.grid_z;
  if (machine.config.policy == Policy::round_robin || blocks > UINT32_MAX || blocks < 2) return;
  const auto count = static_cast<uint32_t>(blocks);
  machine.block_offset = draw_below(count);
  do {
    machine.block_stride = 1 + draw_below(count - 1);
  } while (std::gcd(machine.block_stride, blocks) != 1);
}

uint64_t block_in_order(uint64_t index, uint64_t blocks) {
  if (machine.block_stride == 1 && machine.block_offset == 0) return index;
  return (index * machine.block_stride + machine.block_offset) % blocks;
}

void schedule_block() {
  const Policy policy = machine.config.policy;
  // The length of the last block is the best estimate of the next one's.
  if (machine.steps > 0) machine.steps_expected = machine.steps;
  machine.steps = 0;
  machine.changes.clear();
  machine.lowest_priority = 0;
  machine.descending = (policy == Policy::starve || policy == Policy::pct) && draw_below(2) == 1;
  for (uint32_t t = 0; t < machine.threads && policy != Policy::random; t++) {
    Thread& thread = machine.thread[t];
    thread.neighbour = &thread.warp->lanes[next_lane(thread.warp->ready, thread.lane)];
  }
  machine.land_one_in = kLandOneIn;
  if (machine.config.copies == Copies::random) {
    for (uint32_t n = draw_below(kLandSteps); n > 0; n--) machine.land_one_in *= kLandStep;
  }
  if (policy != Policy::pct) return;
  for (uint32_t w = 0; w < machine.warps; w++) {
    machine.warp[w].priority = 1 + draw_below(kPriorities);
  }
  const auto steps = static_cast<uint32_t>(std::min<uint64_t>(machine.steps_expected, UINT32_MAX));
  for (int i = 0; i < kPctChanges; i++) machine.changes.push_back(1 + draw_below(steps));
  std::sort(machine.changes.rbegin(), machine.changes.rend());
}

int64_t draw_priority() {
  return machine.config.policy == Policy::pct ? 1 + draw_below(kPriorities) : 0;
}

void make_ready(Thread& thread) {
  thread.wait = Wait::ready;
  thread.warp->ready |= 1u << thread.lane;
  machine.ready_warps |= 1u << thread.warp->id;
}

void set_waiting(Wait wait, simt_site at) {
  current->wait = wait;
  current->at = at;
  Warp& warp = *current->warp;
  warp.ready &= ~(1u << current->lane);
  if (warp.ready == 0) machine.ready_warps &= ~(1u << warp.id);
}

void yield() {
  Thread* next = choose(current);
  if (next != current) switch_to(*next);
}

void decide() {
  Thread* next = choose(current);
  if (next != current) switch_to(*next);
}

void pass_turn() {
  if (!machine.bulk.empty()) land_bulk(0, UINT32_MAX);
  const auto pick = [](uint32_t mask) {
    return nth_bit(mask, draw_below(static_cast<uint32_t>(__builtin_popcount(mask))));
  };
  Warp& warp = machine.warp[pick(machine.ready_warps)];
  Thread& next = warp.lanes[pick(warp.ready)];
  machine.hash = (machine.hash ^ (warp.id << 5 | next.lane)) * 0x100000001b3u;
  if (&next != current) switch_to(next);
}

Thread* first_thread() {
  Thread before;  // a thread "before" thread 0 of warp 0
  before.warp = &machine.warp[0];
  before.lane = machine.descending ? 0 : 31;
  return machine.config.policy == Policy::round_robin ? &machine.thread[0] : choose(&before);
}

}  // namespace simt
