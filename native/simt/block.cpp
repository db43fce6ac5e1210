// block.cpp - a block from its first thread to its last: threads, shared memory, exits.
#include <algorithm>
#include <cstring>

#include "arena.h"
#include "clock.h"
#include "copy.h"
#include "machine.h"
#include "mbarrier.h"
#include "report.h"
#include "schedule.h"
#include "shadow.h"

namespace simt {

Machine machine;
Thread* current = nullptr;

namespace {

// What unwritten memory holds in both builds: NaN as f32 and as f16, and an index far out of range.
constexpr int kUnwritten = 0xff;

// Reports lanes that exit although others of their warp wait for them.
void check_exit_from_collective(const Warp& warp) {
  for (uint32_t i = 0; i < warp.gathering_count; i++) {
    const Gathering& g = warp.gathering[i];
    if (!(g.mask & ~warp.alive)) continue;
    report_fatal("divergence", g.at,
                 format("%s exits while lanes %08x of its warp wait in %s with mask %08x",
                        describe_current().c_str(), g.arrived, name_of(g.op), g.mask));
  }
}

[[noreturn]] void leave_block() {
  void* dropped;
  current = nullptr;
  fiber_switch(&dropped, machine.main_sp);
  __builtin_unreachable();
}

void thread_entry() {
  machine.body(machine.argument);
  Warp& warp = *current->warp;
  copies_check_exit(*current);
  barriers_check_thread_exit();
  set_waiting(Wait::exited, 0);
  warp.alive &= ~(1u << current->lane);
  machine.alive--;
  check_exit_from_collective(warp);
  if (machine.alive == 0) leave_block();
  release_barrier_if_full();
  yield();
  __builtin_unreachable();
}

void prepare_threads() {
  const uint32_t count = machine.threads;
  machine.ready_warps = 0;
  for (uint32_t w = 0; w < machine.warps; w++) {
    Warp& warp = machine.warp[w];
    const uint32_t lanes = std::min(kWarpSize, count - w * kWarpSize);
    warp.lanes = &machine.thread[w * kWarpSize];
    warp.id = w;
    warp.ready = warp.alive = lanes == kWarpSize ? ~0u : (1u << lanes) - 1;
    warp.gathering_count = 0;
    machine.ready_warps |= 1u << w;
  }
  for (uint32_t t = 0; t < count; t++) {
    Thread& thread = machine.thread[t];
    thread.warp = &machine.warp[t / kWarpSize];
    thread.id = t;
    thread.lane = t % kWarpSize;
    mma::Tile& tile = thread.warp->tile;
    const uint32_t g = thread.lane >> 2, pair = thread.lane & 3;
    thread.tile_a = &tile.a[pair][g];
    thread.tile_b = &tile.b[g][pair];
    thread.tile_c = &tile.c[2 * pair][g];
    thread.wait = Wait::ready;
    thread.at = 0;
    thread.groups_committed = thread.groups_done = 0;
    thread.last_copy_group = 0;
    thread.sp = stack_prepare(t, thread_entry);
    thread.neighbour = &thread;
  }
}

}  // namespace

void abandon_block() {
  machine.abandoned = true;
  leave_block();
}

void run_block() {
  machine.generation++;
  machine.alive = machine.threads;
  machine.polls = 0;
  barriers_start();
  machine.mbarriers.reserve(kMbarriersMax);  // addresses of barriers stay valid
  mbarriers_clear();
  prepare_threads();
  schedule_block();
  std::memset(dynamic_shared(), kUnwritten, machine.shape.shared_bytes);
  for (const StaticShared& s : machine.statics) {
    std::memset(arena + s.offset, kUnwritten, s.bytes);
  }
  if constexpr (kChecked) {
    shadow_block();
    clocks_start();
  }
  current = first_thread();
  fiber_switch(&machine.main_sp, current->sp);
  current = nullptr;
  if (machine.abandoned) {
    copies_forget();
  } else {
    barriers_check_exit();
    mbarriers_check_exit();
    copies_finish();
  }
  if constexpr (kChecked) clocks_end();
  machine.hash = (machine.hash ^ machine.switches) * 0x100000001b3u;
}

void report_time_limit(simt_site at) {
  report_fatal("limit", at,
               format("block (%u,%u,%u) synchronises more than %u times in one warp, the limit of "
                      "the emulator",
                      machine.block[0], machine.block[1], machine.block[2], kTimeMax));
}

const char* name_of(Op op) {
  switch (op) {
    case Op::mma_f16_f32:
      return "mma.sync (f16, f32)";
    case Op::mma_bf16_f32:
      return "mma.sync (bf16, f32)";
    case Op::mma_f16_f16:
      return "mma.sync (f16, f16)";
    case Op::movmatrix:
      return "movmatrix";
    case Op::ldmatrix:
      return "ldmatrix";
    case Op::shfl:
      return "shfl.sync";
    case Op::redux:
      return "redux.sync";
    case Op::vote:
      return "vote.sync";
    case Op::syncwarp:
      return "__syncwarp";
  }
  return "?";
}

const char* name_of(Wait wait) {
  switch (wait) {
    case Wait::ready:
      return "wait for their warp";
    case Wait::block:
      return "wait in __syncthreads";
    case Wait::named:
      return "wait at a named barrier";
    case Wait::mbarrier:
      return "wait for an mbarrier";
    case Wait::exited:
      return "have exited";
  }
  return "?";
}

}  // namespace simt

using namespace simt;

uint32_t simt_thread_x() { return current->id; }
uint32_t simt_block(int axis) { return machine.block[axis]; }
uint32_t simt_grid_x() { return machine.shape.grid_x; }

void* simt_static_shared(size_t bytes, size_t align, const char* name, simt_site at) {
  for (const StaticShared& s : machine.statics) {
    if (s.at == at && (s.name == name || std::strcmp(s.name, name) == 0)) return arena + s.offset;
  }
  // Far apart, so that an index past the end of one does not land in the next.
  const uint64_t gap = std::max<uint64_t>(kStaticGap, bytes);
  align = std::max<size_t>(align, 16);
  const uint64_t offset = (machine.static_used + align - 1) / align * align;
  if (bytes > kStaticBytes || offset + bytes + gap > kStaticBytes) {
    report_fatal("limit", at,
                 format("%s takes %zu bytes of static shared memory, beyond what the emulator has",
                        name, bytes));
  }
  machine.static_used = offset + bytes + gap;
  machine.statics.push_back({at, name, offset, bytes});
  std::memset(arena + offset, kUnwritten, bytes);
  return arena + offset;
}

void* simt_dynamic_shared(size_t align, simt_site at) {
  // The region starts at a multiple of 1024 bytes, as on the hardware.
  if (align > 1024) {
    report_fatal("limit", at,
                 format("dynamic shared memory aligned to %zu bytes; at most 1024", align));
  }
  return dynamic_shared();
}
