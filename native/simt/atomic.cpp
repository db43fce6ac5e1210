// atomic.cpp - atomics and __threadfence: how threads, also of different blocks, order their
// accesses without a barrier.
//
// Atomics are relaxed. In the checked build an address remembers what the threads released that
// wrote to it: a thread releases what it knew at its last fence, and acquires what an address held
// at its next one (PTX ISA, "Release and acquire patterns"). So "write, fence, atomic" in one block
// and "atomic, fence, read" in another are ordered; without either fence they are a race.
#include <algorithm>
#include <unordered_map>

#include "arena.h"
#include "atomic.h"
#include "clock.h"
#include "machine.h"
#include "report.h"
#include "schedule.h"
#include "shadow.h"

namespace simt {
namespace {

// What an address holds: the knowledge of the block `generation` and, in there, of earlier ones.
struct Released {
  uint32_t generation;
  Clock* clock;
};
std::unordered_map<uint64_t, Released> released;

// Atomics in a row without anything else happening: then other warps get a turn, and at the end the
// block is taken for one that waits for something that never comes.
constexpr uint32_t kPollsBeforeYield = 64;
constexpr uint32_t kPollsMax = 1u << 17;

// Turns what an earlier block left at the address into this block's terms.
void bring_up_to_date(Released& r, bool shared) {
  if (r.generation == machine.generation) return;
  Clock* now = nullptr;
  if (!shared && r.clock != nullptr) {
    now = clock_zero();
    now->blocks = r.clock->blocks;  // with their references; theirs are dropped below
    for (const BlockClock& block : now->blocks) block.clock->references++;
    r.clock->references++;
    now->blocks.push_back({r.generation, r.clock});
  }
  clock_drop(r.clock);
  r = {machine.generation, now};
}

void order(uint64_t address, bool writes) {
  Released& r = released.try_emplace(address, Released{machine.generation, nullptr}).first->second;
  bring_up_to_date(r, in_shared(address));
  if (r.clock != nullptr) clock_read_atomic(*current, r.clock);
  const Clock* mine = current->clock->released;
  if (!writes || mine == nullptr) return;
  if (r.clock == nullptr) r.clock = clock_zero();
  clock_raise(r.clock, mine);
}

uint32_t* checked_address(uint32_t* p, int kind, simt_site at) {
  const auto address = reinterpret_cast<uint64_t>(p);
  if (address & 3) {
    report_fatal("misaligned access", at,
                 format("%s performs an atomic on %s; a multiple of 4 is required",
                        describe_current().c_str(), describe_address(address).c_str()));
  }
  if (!in_arena(address) || outside_bytes(address, 4) != 0) {
    report_fatal("out of bounds", at,
                 format("%s performs an atomic on 4 bytes at %s", describe_current().c_str(),
                        describe_address(address).c_str()));
  }
  if constexpr (kChecked) {
    shadow_atomic(address, 4, kind, at);
    order(address, kind != SIMT_ATOMIC_LOAD);
  }
  return p;
}

float flushed(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  return bits & 0x7f800000u ? x : __builtin_bit_cast(float, bits & 0x80000000u);
}

// atom.add.f32 on global memory flushes subnormals, on shared memory it does not (PTX ISA, "atom").
uint32_t add_f32(uint32_t before, uint32_t value, bool shared) {
  float a = __builtin_bit_cast(float, before), b = __builtin_bit_cast(float, value);
  if (!shared) a = flushed(a), b = flushed(b);
  float sum = a + b;
  if (!shared) sum = flushed(sum);
  return sum == sum ? __builtin_bit_cast(uint32_t, sum) : 0x7fffffffu;
}

uint32_t after(int kind, uint32_t before, uint32_t value, uint32_t compare, bool shared) {
  switch (kind) {
    case SIMT_ATOMIC_ADD:
      return before + value;
    case SIMT_ATOMIC_MIN:
      return std::min(before, value);
    case SIMT_ATOMIC_MAX:
      return std::max(before, value);
    case SIMT_ATOMIC_COMPARE:
      return before == compare ? value : before;
    case SIMT_ATOMIC_ADD_F32:
      return add_f32(before, value, shared);
    case SIMT_ATOMIC_LOAD:
      return before;
    default:  // store, exchange
      return value;
  }
}

void poll(simt_site at) {
  machine.polls++;
  if (machine.polls >= kPollsMax) {
    report_fatal(
        "deadlock", at,
        format("%s repeats an atomic, and nothing else has happened in its block for %u of "
               "them; blocks run one after another here, so one cannot wait for a later one",
               describe_current().c_str(), machine.polls));
  }
  if (machine.polls % kPollsBeforeYield == 0) {
    pass_turn();
  } else {
    schedule_point();
  }
}

}  // namespace

void atomics_launch() {
  if constexpr (kChecked) {
    for (auto& [address, r] : released) clock_drop(r.clock);
    released.clear();
  }
}

}  // namespace simt

using namespace simt;

uint32_t simt_atomic(int kind, uint32_t* p, uint32_t value, uint32_t compare, simt_site at) {
  uint32_t* const word = checked_address(p, kind, at);
  const uint32_t before = *word;
  const bool shared = in_shared(reinterpret_cast<uint64_t>(p));
  const uint32_t now = after(kind, before, value, compare, shared);
  if (now != before) machine.polls = 0;
  *word = now;
  poll(at);
  return before;
}

void simt_threadfence(simt_site) {
  if constexpr (kChecked) clock_fence(*current);
  schedule_point();
}
