// clock.cpp - see clock.h.
#include "clock.h"

#include <cstdlib>
#include <cstring>
#include <vector>

namespace simt {
namespace {

std::vector<Clock*> pool;

// 32 lanes that acquire the same clock from the same knowledge get one result between them.
struct Memo {
  Clock *before = nullptr, *from = nullptr, *after = nullptr;
} memo;

Clock* fresh() {
  Clock* clock;
  if (pool.empty()) {
    clock = new Clock;
  } else {
    clock = pool.back();
    pool.pop_back();
  }
  clock->references = 1;
  return clock;
}

void raise(uint32_t* times, const uint32_t* other) {  // (slots), (slots)
  const uint32_t n = slots();
  for (uint32_t i = 0; i < n; i++) times[i] = times[i] > other[i] ? times[i] : other[i];
}

void publish(const Thread& thread, Clock* into) {
  uint32_t& own = into->time[thread.id];
  if (own < thread.warp->time) own = thread.warp->time;
  uint32_t& copies = into->time[copy_slot(thread.id)];
  if (copies < thread.groups_done) copies = thread.groups_done;
}

void adopt(Thread& thread, Clock* clock) {
  clock->references++;
  clock_drop(thread.clock);
  thread.clock = clock;
}

void forget_memo() {
  if (memo.after == nullptr) return;
  clock_drop(memo.before);
  clock_drop(memo.from);
  clock_drop(memo.after);
  memo = {};
}

}  // namespace

Clock* clock_zero() {
  Clock* clock = fresh();
  std::memset(clock->time, 0, slots() * sizeof clock->time[0]);
  return clock;
}

Clock* clock_copy(const Clock* from) {
  Clock* clock = fresh();
  std::memcpy(clock->time, from->time, slots() * sizeof clock->time[0]);
  return clock;
}

void clock_drop(Clock* clock) {
  if (clock != nullptr && --clock->references == 0) pool.push_back(clock);
}

void clocks_start() {
  Clock* zero = clock_zero();
  for (uint32_t t = 0; t < machine.threads; t++) {
    machine.thread[t].clock = zero;
    zero->references++;
  }
  clock_drop(zero);
  for (uint32_t w = 0; w < machine.warps; w++) machine.warp[w].time = 1;
}

void clocks_end() {
  forget_memo();
  for (uint32_t t = 0; t < machine.threads; t++) {
    clock_drop(machine.thread[t].clock);
    machine.thread[t].clock = nullptr;
  }
}

void clocks_join(Thread* const* threads, uint32_t count) {
  Clock* joint = clock_copy(threads[0]->clock);
  const Clock* last = threads[0]->clock;
  for (uint32_t i = 1; i < count; i++) {
    if (threads[i]->clock == last) continue;
    last = threads[i]->clock;
    raise(joint->time, last->time);
  }
  for (uint32_t i = 0; i < count; i++) publish(*threads[i], joint);
  const Warp* advanced = nullptr;
  for (uint32_t i = 0; i < count; i++) {
    adopt(*threads[i], joint);
    if (threads[i]->warp == advanced) continue;
    advanced = threads[i]->warp;
    threads[i]->warp->time++;
  }
  clock_drop(joint);
}

void clocks_join(Warp& warp, uint32_t lanes) {
  Thread* threads[kWarpSize];
  uint32_t count = 0;
  for (; lanes; lanes &= lanes - 1) threads[count++] = &warp.lanes[__builtin_ctz(lanes)];
  clocks_join(threads, count);
}

void clock_release(Thread& thread, Clock* into) {
  raise(into->time, thread.clock->time);
  publish(thread, into);
  thread.warp->time++;
}

void clock_acquire(Thread& thread, Clock* from) {
  if (memo.after != nullptr && memo.before == thread.clock && memo.from == from) {
    adopt(thread, memo.after);
    return;
  }
  Clock* after = clock_copy(thread.clock);
  raise(after->time, from->time);
  forget_memo();
  memo = {thread.clock, from, after};
  memo.before->references++;
  memo.from->references++;
  adopt(thread, after);  // the reference of the copy is now the memo's
}

}  // namespace simt
