// schedule.h - which thread runs next, and when asynchronous copies land. Seeded and adversarial.
//
// Policies choose among warps; lanes of a warp run up to their next common instruction in turn.
//   round-robin  the running warp as long as it can, then the next; lanes ascending
//   random       another warp with probability 1/8 at every point, lanes drawn at random
//   starve       as round-robin, but one warp runs only when no other can
//   pct          Burckhardt et al., ASPLOS 2010: fixed random priorities, lowered at 3 random
//                steps; finds every bug of depth d with a probability that is known
// Blocks run one after another: in order under round-robin, else in an order of the seed.
// Copies: eager (at issue), lazy (only when nothing else can run, or a wait forces them), random
// (any time, bulk copies also in pieces). Under pct, bulk copies have priorities too. Points of
// decision are the collectives, barriers, copies and waits; a plain access is none.
#pragma once
#include "machine.h"

namespace simt {

constexpr int kPctChanges = 3;

uint64_t draw();
uint32_t draw_below(uint32_t n);
int64_t draw_priority();  // of a bulk copy; 0 except under pct

// Seeds the schedule of a launch, and then that of each block in it.
void schedule_launch();
void schedule_block();
// Which of the launch's blocks, counted along x, then y, then z, runs as number `index`.
uint64_t block_in_order(uint64_t index, uint64_t blocks);

void make_ready(Thread& thread);
// Marks the running thread as waiting; yield() must follow.
void set_waiting(Wait wait, simt_site at);
// Continues with another thread; returns when the running one is chosen again.
void yield();
// The thread that starts a block.
Thread* first_thread();

// For a thread that polls: some other thread that can run, or a copy, makes a step.
void pass_turn();

// Names as in kvp_schedule, by enumerator.
constexpr const char* kPolicyNames[] = {"round-robin", "random", "starve", "pct"};
constexpr const char* kCopiesNames[] = {"eager", "lazy", "random"};

void decide();
// A point at which another thread may be preferred to the running one.
inline void schedule_point() {
  if (SIMT_UNLIKELY(machine.config.policy != Policy::round_robin ||
                    machine.config.copies == Copies::random)) {
    decide();
  }
}

inline void switch_to(Thread& next) {
  Thread* const self = current;
  current = &next;
  machine.switches++;
  fiber_switch(&self->sp, next.sp);
}

inline uint32_t lowest_lane(uint32_t mask) { return static_cast<uint32_t>(__builtin_ctz(mask)); }
inline uint32_t highest_lane(uint32_t mask) {
  return 31 - static_cast<uint32_t>(__builtin_clz(mask));
}

// The next lane of `mask` after `lane`, wrapping, in the block's direction.
inline uint32_t next_lane(uint32_t mask, uint32_t lane) {
  if (SIMT_UNLIKELY(machine.descending)) {
    const uint32_t before = mask & ((1u << lane) - 1);
    return highest_lane(before ? before : mask);
  }
  const uint32_t after = mask & ~((2u << lane) - 1);
  return lowest_lane(after ? after : mask);
}

}  // namespace simt
