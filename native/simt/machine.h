// machine.h - the state of one emulated device: the running launch, its block, warps and threads.
//
// There is one machine in a library and one launch at a time; blocks run one after another, the
// threads of a block as fibers on the calling thread. Nothing here is locked. A library keeps its
// machine to itself (hidden visibility), so that several emulated kernels can be loaded into one
// process.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../mma/tile.h"
#include "fiber.h"
#include "runtime.h"

#ifndef SIMT_CHECKED
#error "SIMT_CHECKED must be 0 or 1"
#endif

namespace simt {

// The checked build sees every access of the kernel and keeps vector clocks; the plain build does
// not.
constexpr bool kChecked = SIMT_CHECKED != 0;

constexpr uint32_t kWarpSize = 32;
constexpr uint32_t kWarpsMax = kThreadsMax / kWarpSize;
constexpr uint32_t kMbarriersMax = 256;  // of a block; a limit of the emulator, not of the hardware

// The instructions of the tensor core: operands, accumulators.
enum class Mma : uint8_t { f16_f32, bf16_f32, f16_f16 };
constexpr int kMmaKinds = 3;

struct Clock;  // clock.h
struct Warp;
struct Mbarrier;

enum class Wait : uint8_t { ready, block, named, mbarrier, exited };
enum class Op : uint8_t {
  mma_f16_f32,
  mma_bf16_f32,
  mma_f16_f16,
  movmatrix,
  ldmatrix,
  shfl,
  redux,
  vote,
  syncwarp
};

// One cp.async that has not landed.
struct PendingCopy {
  void* to;
  const void* from;
  uint32_t group;  // number of the thread's commit group, from 1
};

// What a switch touches is the first cache line.
struct alignas(64) Thread {
  void* sp = nullptr;
  Warp* warp = nullptr;
  uint32_t id = 0, lane = 0;
  simt_site at = 0;  // where it waits
  // The lane that usually runs when this one waits for its warp: the next one in the block's
  // direction, the first after the last. Itself where the order is drawn.
  Thread* neighbour = nullptr;
  // Its places in the operands and the accumulators of its warp's tile (matrix.cpp).
  uint32_t *tile_a = nullptr, *tile_b = nullptr;
  float* tile_c = nullptr;
  Wait wait = Wait::exited;     // ready: also in a collective, from which others release it
  Mbarrier* barrier = nullptr;  // what it waits for, if Wait::mbarrier
  uint32_t phase = 0;           // which phase of it; the number, if Wait::named
  // Checked build: what happened before its next access, and the stamp (shadow_cell.h) of a write
  // of which that is known to be true.
  Clock* clock = nullptr;
  uint64_t ordered_write = 0;
  uint32_t groups_committed = 0;  // cp.async groups closed so far
  uint32_t groups_done = 0;       // of those, how many a wait has covered
  uint32_t last_copy_group = 0;   // of the newest cp.async, and where it was issued
  simt_site last_copy_at = 0;
  std::vector<PendingCopy> copies;
};

// A collective that some lanes of a warp have reached.
struct Gathering {
  simt_site at;
  uint32_t mask, arrived;
  Op op;
};

struct alignas(64) Warp {
  mma::Tile tile;                          // operands and result of mma, filled by the lanes
  uint32_t in[kWarpSize], out[kWarpSize];  // the same for shuffles, votes and movmatrix
  uint32_t source[kWarpSize];              // lane that a shuffle reads
  int kind;                                // of the reduction, or of the ldmatrix
  const char* row[kWarpSize];              // ldmatrix: address of a row of 8 halves
  simt_u32x4 fragments[kWarpSize];         // and what each lane gets
  Thread* lanes = nullptr;                 // (up to 32)
  uint32_t id = 0, ready = 0, alive = 0;
  uint32_t gathering_count = 0;
  Gathering gathering[kWarpSize];  // each lane waits in one
  // Checked build: the clock of all its lanes' accesses, and their stamp (shadow_cell.h) with it.
  uint32_t time = 0;
  uint64_t stamp = 0;
  int64_t priority = 0;  // PCT
};

struct Mbarrier {
  uint64_t address;
  uint32_t index, count, pending, phase;
  int64_t tx;
  uint32_t init_thread, init_time;
  bool fenced;                 // its initialisation was made visible to the async proxy
  simt_site init_at, copy_at;  // copy_at: last bulk copy
  uint32_t copy_phases;        // phases with copies, counted up to the last of them
  uint32_t waited_phases;      // phases that some thread has waited for
  Clock *arriving, *done;
  std::vector<Thread*> waiters;
};

// One of the 16 barriers of a block. Barrier 0 is that of __syncthreads and not used here.
struct NamedBarrier {
  uint32_t expected, arrived;  // threads; a warp counts once all of it is there
  uint32_t lanes[kWarpsMax];   // which have arrived
  simt_site at;                // the first of them
  Clock* clock;                // what they released (checked build)
};
constexpr uint32_t kNamedBarriers = 16;

// A bulk copy on its way.
struct BulkCopy {
  char* to;
  const char* from;
  uint32_t bytes, landed, thread;
  uint32_t phase;  // of the barrier, at issue
  Mbarrier* barrier;
  simt_site at;
  int64_t priority;
};

struct StaticShared {
  simt_site at;
  const char* name;
  uint64_t offset, bytes;
};

enum class Policy : uint8_t { round_robin, random, starve, pct };
enum class Copies : uint8_t { eager, lazy, random };

struct Config {
  Policy policy = Policy::round_robin;
  Copies copies = Copies::eager;
  uint64_t seed = 0;
  uint32_t starved_warp = 0;
  uint32_t sm = 90;
};

struct Machine {
  Config config;
  mma::TileFunction tile[kMmaKinds] = {};  // of config.sm, by Mma
  // launch
  simt_launch_shape shape{};
  void (*body)(void*) = nullptr;
  void* argument = nullptr;
  uint64_t argument_bytes = 0;
  uint32_t threads = 0, warps = 0, launches = 0;
  // block
  uint32_t block[3] = {0, 0, 0};
  uint32_t alive = 0, ready_warps = 0, barrier_arrived = 0;
  simt_site barrier_at = 0;
  void* fresh = nullptr;  // region that the next release of the barrier declares dead
  size_t fresh_bytes = 0;
  bool running = false, abandoned = false, descending = false;
  uint64_t static_used = 0;
  std::vector<StaticShared> statics;
  NamedBarrier named[kNamedBarriers] = {};
  bool named_in_use = false;  // by this block
  std::vector<Mbarrier> mbarriers;
  std::vector<BulkCopy> bulk;
  uint32_t copies_pending = 0;  // cp.async of all threads that have not landed
  uint32_t polls = 0;           // atomics since something else happened
  // schedule
  uint32_t land_one_in = 4;
  uint64_t random = 0, hash = 0, steps = 0, steps_expected = 4000;
  uint64_t block_stride = 1, block_offset = 0;  // order of the blocks, see block_in_order()
  // PCT: steps at which the running warp loses its priority, descending.
  std::vector<uint64_t> changes;
  int64_t lowest_priority = 0;
  // checked build: number of the current block or host call, and of the launch's first block
  uint32_t generation = 1, first_generation = 1;
  uint64_t switches = 0;  // from thread to thread, since configure()
  void* main_sp = nullptr;
  Thread thread[kThreadsMax];
  Warp warp[kWarpsMax];
};

extern Machine machine;
extern Thread* current;  // null outside of a block

inline bool running_fiber() { return current != nullptr; }

// Leaves the block for good: every fiber is dropped where it is. Called by a fiber.
[[noreturn]] void abandon_block();

// Runs the block machine.block to its end or until it is abandoned.
void run_block();

// Times, groups and phases that a clock can tell apart (shadow_cell.h has 18 bits for them).
constexpr uint32_t kTimeMax = (1u << 18) - 1;
[[noreturn]] void report_time_limit(simt_site at);

// ---- barrier.cpp ----
void barriers_start();
// Releases __syncthreads if all threads that have not exited are there.
void release_barrier_if_full();
// True if a part of a warp waits at a named barrier, for which the rest has not arrived.
bool barriers_split_warp();
// The running thread exits.
void barriers_check_thread_exit();
// After the last thread: named barriers that are half full.
void barriers_check_exit();

// ---- block.cpp ----
const char* name_of(Op op);
const char* name_of(Wait wait);

#define SIMT_LIKELY(x) __builtin_expect(!!(x), 1)
#define SIMT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define SIMT_COLD __attribute__((noinline, cold))

}  // namespace simt
