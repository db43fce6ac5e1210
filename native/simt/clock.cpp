// clock.cpp - see clock.h.
#include "clock.h"

#include <cstring>

#include "shadow_cell.h"

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
  clock->fenced = clock->released = clock->pending = nullptr;
  return clock;
}

Clock* share(Clock* clock) {
  if (clock != nullptr) clock->references++;
  return clock;
}

void raise_times(uint32_t* times, const uint32_t* other) {  // (slots), (slots)
  const uint32_t n = slots();
  for (uint32_t i = 0; i < n; i++) times[i] = times[i] > other[i] ? times[i] : other[i];
}

void raise_blocks(std::vector<BlockClock>& blocks, const std::vector<BlockClock>& other) {
  for (const BlockClock& theirs : other) {
    size_t at = 0;
    while (at < blocks.size() && blocks[at].generation < theirs.generation) at++;
    if (at == blocks.size() || blocks[at].generation != theirs.generation) {
      blocks.insert(blocks.begin() + static_cast<long>(at),
                    {theirs.generation, share(theirs.clock)});
    } else if (blocks[at].clock != theirs.clock) {
      Clock* both = clock_copy(blocks[at].clock);
      clock_raise(both, theirs.clock);
      clock_drop(blocks[at].clock);
      blocks[at].clock = both;
    }
  }
}

// mine = both together; either may be null.
void merge(Clock*& mine, Clock* theirs) {
  if (theirs == nullptr || theirs == mine) return;
  if (mine == nullptr) {
    mine = share(theirs);
    return;
  }
  Clock* both = clock_copy(mine);
  clock_raise(both, theirs);
  clock_drop(mine);
  mine = both;
}

void publish(const Thread& thread, Clock* into) {
  uint32_t& own = into->time[thread.id];
  if (own < thread.warp->time) own = thread.warp->time;
  uint32_t& copies = into->time[copy_slot(thread.id)];
  if (copies < thread.groups_done) copies = thread.groups_done;
}

void advance(Warp& warp) {
  if (SIMT_UNLIKELY(++warp.time >= kTimeMax)) report_time_limit(current ? current->at : 0);
  warp.stamp += pack(0, 0, 1);
}

void adopt(Thread& thread, Clock* clock) {
  clock->references++;
  clock_drop(thread.clock);
  thread.clock = clock;
}

// The clock takes the place of the thread's, with its reference.
void replace(Thread& thread, Clock* clock) {
  clock_drop(thread.clock);
  thread.clock = clock;
}

// Without what travels with it.
Clock* plain_copy(const Clock* from) {
  Clock* copy = clock_copy(from);
  for (Clock** part : {&copy->fenced, &copy->released, &copy->pending}) {
    clock_drop(*part);
    *part = nullptr;
  }
  return copy;
}

// What the thread knows by `clock` and has done until now, as a clock of its own.
Clock* now(Thread& thread, const Clock* clock) {
  Clock* snapshot = plain_copy(clock);
  publish(thread, snapshot);
  advance(*thread.warp);
  return snapshot;
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
  clock->fenced = share(from->fenced);
  clock->released = share(from->released);
  clock->pending = share(from->pending);
  clock->blocks = from->blocks;
  for (const BlockClock& block : clock->blocks) share(block.clock);
  std::memcpy(clock->time, from->time, slots() * sizeof clock->time[0]);
  return clock;
}

void clock_drop(Clock* clock) {
  if (clock == nullptr || --clock->references != 0) return;
  for (Clock* part : {clock->fenced, clock->released, clock->pending}) clock_drop(part);
  for (const BlockClock& block : clock->blocks) clock_drop(block.clock);
  clock->blocks.clear();
  pool.push_back(clock);
}

void clock_raise(Clock* clock, const Clock* other) {
  if (other == nullptr) return;
  raise_times(clock->time, other->time);
  if (!other->blocks.empty()) raise_blocks(clock->blocks, other->blocks);
  merge(clock->fenced, other->fenced);
  merge(clock->released, other->released);
  merge(clock->pending, other->pending);
}

void clocks_start() {
  Clock* zero = clock_zero();
  for (uint32_t t = 0; t < machine.threads; t++) {
    machine.thread[t].clock = zero;
    machine.thread[t].ordered_write = 0;
    zero->references++;
  }
  clock_drop(zero);
  for (uint32_t w = 0; w < machine.warps; w++) {
    machine.warp[w].time = 1;
    machine.warp[w].stamp = pack(machine.generation, w * kWarpSize, 1);
  }
}

void clocks_end() {
  forget_memo();
  for (uint32_t t = 0; t < machine.threads; t++) {
    clock_drop(machine.thread[t].clock);
    machine.thread[t].clock = nullptr;
  }
}

bool ordered_in_block(const Thread& thread, uint32_t generation, uint32_t slot, uint32_t time) {
  for (const BlockClock& block : thread.clock->blocks) {
    if (block.generation == generation) return time <= block.clock->time[entry_of(slot)];
  }
  return false;
}

void clocks_join(Thread* const* threads, uint32_t count) {
  Clock* joint = clock_copy(threads[0]->clock);
  const Clock* last = threads[0]->clock;
  for (uint32_t i = 1; i < count; i++) {
    if (threads[i]->clock == last) continue;
    last = threads[i]->clock;
    clock_raise(joint, last);
  }
  for (uint32_t i = 0; i < count; i++) publish(*threads[i], joint);
  const Warp* advanced = nullptr;
  for (uint32_t i = 0; i < count; i++) {
    adopt(*threads[i], joint);
    if (threads[i]->warp == advanced) continue;
    advanced = threads[i]->warp;
    advance(*threads[i]->warp);
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
  clock_raise(into, thread.clock);
  publish(thread, into);
  advance(*thread.warp);
}

void clock_acquire(Thread& thread, Clock* from) {
  if (memo.after != nullptr && memo.before == thread.clock && memo.from == from) {
    adopt(thread, memo.after);
    return;
  }
  Clock* after = clock_copy(thread.clock);
  clock_raise(after, from);
  forget_memo();
  memo = {thread.clock, from, after};
  memo.before->references++;
  memo.from->references++;
  adopt(thread, after);  // the reference of the copy is now the memo's
}

void clock_fence_proxy(Thread& thread) {
  Clock* after = clock_copy(thread.clock);
  clock_drop(after->fenced);
  after->fenced = now(thread, thread.clock);
  replace(thread, after);
}

void clock_fence(Thread& thread) {
  Clock* after = clock_copy(thread.clock);
  clock_raise(after, after->pending);
  clock_drop(after->pending);
  after->pending = nullptr;
  clock_drop(after->released);
  after->released = now(thread, after);
  replace(thread, after);
}

void clock_read_atomic(Thread& thread, const Clock* from) {
  Clock* after = clock_copy(thread.clock);
  Clock* read = plain_copy(from);
  merge(after->pending, read);
  clock_drop(read);
  replace(thread, after);
}

}  // namespace simt
