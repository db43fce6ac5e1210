// launch.cpp - see launch.h. Limits are those of the CUDA C++ Programming Guide 13.0, table
// "Technical Specifications per Compute Capability"; multiprocessors of the cards named, from
// NVIDIA's data sheets.
#include "launch.h"

#include <atomic>
#include <cstdio>

#include "arena.h"
#include "atomic.h"
#include "device.h"
#include "fault.h"
#include "machine.h"
#include "mbarrier.h"
#include "report.h"
#include "schedule.h"
#include "shadow.h"

namespace simt {
namespace {

constexpr Architecture kArchitectures[] = {
    {80, "A100", 108}, {89, "L40S", 142}, {90, "H100 SXM", 132}};

constexpr uint32_t kGridXMax = 0x7fffffff, kGridYZMax = 65535;

int fail(char* err, size_t err_bytes, kvp_status status, const std::string& text) {
  if (err != nullptr && err_bytes > 0) std::snprintf(err, err_bytes, "%s", text.c_str());
  return status;
}

// Why a launch of this shape is impossible, or empty.
std::string shape_error(const simt_launch_shape& s) {
  if (s.grid_x == 0 || s.grid_y == 0 || s.grid_z == 0 || s.grid_x > kGridXMax ||
      s.grid_y > kGridYZMax || s.grid_z > kGridYZMax) {
    return format("launch: grid %u x %u x %u, between 1 and %u x %u x %u is required", s.grid_x,
                  s.grid_y, s.grid_z, kGridXMax, kGridYZMax, kGridYZMax);
  }
  if (s.threads == 0 || s.threads > kThreadsMax) {
    return format("launch: %u threads in a block, 1 to %u are required", s.threads, kThreadsMax);
  }
  if (s.threads_max != 0 && s.threads > s.threads_max) {
    return format("launch: %u threads in a block, the kernel has registers for %u (DEV_KERNEL)",
                  s.threads, s.threads_max);
  }
  const uint32_t limit = dev::smem_limit(machine.config.sm);
  if (s.shared_bytes > limit) {
    return format("launch: %llu bytes of dynamic shared memory, sm_%u has %u for a block",
                  static_cast<unsigned long long>(s.shared_bytes), machine.config.sm, limit);
  }
  return "";
}

// Static variables become known while the kernel runs, so their share is judged afterwards.
void check_shared_total() {
  uint64_t total = machine.shape.shared_bytes;
  for (const StaticShared& s : machine.statics) total += s.bytes;
  const uint64_t statics = total - machine.shape.shared_bytes;
  if (statics == 0) return;
  // dev::launch opts in to more than 48 KiB when the dynamic part passes half of that.
  const bool opted_in = machine.shape.shared_bytes > dev::smem_limit_static / 2;
  const uint32_t limit = opted_in ? dev::smem_limit(machine.config.sm) : dev::smem_limit_static;
  const auto number = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  if (statics > dev::smem_limit_static) {
    report("limit", machine.statics.back().at,
           format("static shared memory takes %llu bytes, %u are possible", number(statics),
                  dev::smem_limit_static));
  } else if (total > limit) {
    report("limit", machine.statics.back().at,
           format("static and dynamic shared memory together take %llu bytes, sm_%u has %u for a "
                  "block%s",
                  number(total), machine.config.sm, limit, opted_in ? "" : " without opt-in"));
  }
}

// Room that epochs have for generations: see shadow.cpp.
constexpr uint32_t kGenerationMax = (1u << 22) - 2;

void run_grid() {
  const simt_launch_shape& s = machine.shape;
  const uint64_t blocks = uint64_t{s.grid_x} * s.grid_y * s.grid_z;
  for (uint64_t i = 0; i < blocks && !machine.abandoned; i++) {
    const uint64_t block = block_in_order(i, blocks);
    machine.hash = (machine.hash ^ block) * 0x100000001b3u;  // FNV-1a
    machine.block[0] = static_cast<uint32_t>(block % s.grid_x);
    machine.block[1] = static_cast<uint32_t>(block / s.grid_x % s.grid_y);
    machine.block[2] = static_cast<uint32_t>(block / s.grid_x / s.grid_y);
    if (kChecked && machine.generation >= kGenerationMax) {
      report("limit", simt_site{0}, "more blocks than the checks can tell apart");
      machine.abandoned = true;
    } else {
      run_block();
    }
  }
}

int launch_now(const simt_launch_shape& shape, void (*body)(void*), void* argument,
               size_t argument_bytes, char* err, size_t err_bytes) {
  const std::string unopened = arena_open();
  if (!unopened.empty()) return fail(err, err_bytes, KVP_DEVICE, unopened);
  if (machine.tile[0] == nullptr) choose_models();
  if (!stream_error().empty()) {  // sticky, as on a device
    return fail(err, err_bytes, KVP_DEVICE, "launch: an earlier launch failed: " + stream_error());
  }
  machine.shape = shape;
  const std::string wrong = shape_error(shape);
  if (!wrong.empty()) {
    report("limit", simt_site{0}, wrong);
    return fail(err, err_bytes, KVP_INVALID, wrong);
  }
  if (!stacks_reserve(shape.threads)) {
    return fail(err, err_bytes, KVP_DEVICE, "launch: no memory for the stacks of a block");
  }
  machine.body = body;
  machine.argument = argument;
  machine.argument_bytes = argument_bytes;
  machine.threads = shape.threads;
  machine.warps = (shape.threads + kWarpSize - 1) / kWarpSize;
  machine.abandoned = false;
  machine.statics.clear();
  machine.static_used = 0;
  machine.launches++;
  machine.first_generation = machine.generation + 1;
  atomics_launch();
  schedule_launch();
  const FaultGuard guard;
  run_grid();
  mbarriers_clear();
  check_shared_total();
  return KVP_OK;
}

}  // namespace

const Architecture* find_architecture(uint32_t sm) {
  for (const Architecture& a : kArchitectures) {
    if (a.sm == sm) return &a;
  }
  return nullptr;
}

void choose_models() {
  using mma::Accumulator;
  using mma::Operand;
  const auto model = [](Operand operand, Accumulator accumulator) {
    return mma::tile_function(machine.config.sm, operand, accumulator, mma::best_isa());
  };
  machine.tile[static_cast<int>(Mma::f16_f32)] = model(Operand::f16, Accumulator::f32);
  machine.tile[static_cast<int>(Mma::bf16_f32)] = model(Operand::bf16, Accumulator::f32);
  machine.tile[static_cast<int>(Mma::f16_f16)] = model(Operand::f16, Accumulator::f16);
}

const std::string& stream_error() { return fatal_text(); }

}  // namespace simt

using namespace simt;

// One launch at a time: the machine is one for the library. Several at once need several processes.
static std::atomic_flag launching = ATOMIC_FLAG_INIT;

int simt_launch(const simt_launch_shape* shape, void (*body)(void*), void* argument,
                size_t argument_bytes, char* err, size_t err_bytes) {
  if (running_fiber()) {
    return fail(err, err_bytes, KVP_INVALID, "launch: a kernel cannot launch a kernel");
  }
  if (launching.test_and_set(std::memory_order_acquire)) {
    return fail(
        err, err_bytes, KVP_DEVICE,
        "launch: another thread launches on the emulated device, which takes one at a time");
  }
  const int status = launch_now(*shape, body, argument, argument_bytes, err, err_bytes);
  launching.clear(std::memory_order_release);
  return status;
}

void simt_device_facts(uint32_t* sm, uint32_t* multiprocessors) {
  *sm = machine.config.sm;
  const Architecture* a = find_architecture(machine.config.sm);
  *multiprocessors = a ? a->multiprocessors : 1;
}
