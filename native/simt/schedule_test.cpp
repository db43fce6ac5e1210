// schedule_test.cpp - plain build: schedules are the seed's and nothing else's, they reach what
// they are for, copies land as late and in as many orders as they may, and limits and faults are
// statuses and reports, never the end of the process.
#include <set>

#include "test_device.h"

namespace {

using check::claim;
using test::allocate;
using test::counting;
using test::download;
using test::Schedule;
using test::upload;

dev::Launch shape(uint32_t threads, uint32_t blocks = 1, uint32_t smem_bytes = 0) {
  dev::Launch launch;
  launch.grid.x = blocks;
  launch.threads = threads;
  launch.smem_bytes = smem_bytes;
  return launch;
}

// ---- the seed decides ----

// Threads note the order in which they come.
DEV_KERNEL(128) order_kernel(uint32_t* order, uint32_t* counter) {
  for (int i = 0; i < 4; i++) {
    order[dev::atomic_add(counter, 1u)] = dev::block_x() * 128 + dev::thread_x();
    dev::shfl_xor(0u, 1);
  }
}

struct Ran {
  std::vector<uint32_t> order;
  uint64_t hash;
  bool operator<(const Ran& o) const { return order < o.order; }
};

Ran run_order(const Schedule& s) {
  test::start(s);
  uint32_t* order = allocate<uint32_t>(1024, "order");
  uint32_t* counter = upload(std::vector<uint32_t>{0}, "counter");
  dev::launch(order_kernel, shape(128, 2), order, counter);
  return {download(order, 1024), simt::emulator_table.schedule_hash()};
}

void seeds() {
  for (const char* policy : {"round-robin", "random", "starve", "pct"}) {
    std::set<std::vector<uint32_t>> orders;
    std::set<uint64_t> hashes;
    bool same = true;
    for (uint64_t seed = 1; seed <= 12; seed++) {
      const Schedule s{policy, "random", seed, static_cast<uint32_t>(seed % 4), 90};
      const Ran first = run_order(s), second = run_order(s);
      same = same && first.order == second.order && first.hash == second.hash;
      orders.insert(first.order);
      hashes.insert(first.hash);
    }
    char text[100];
    std::snprintf(text, sizeof text, "%s: equal seeds give equal schedules and hashes", policy);
    claim(same, text);
    // round-robin draws nothing; starve draws a direction and the order of the blocks.
    const size_t least = policy[1] == 'o' ? 1 : policy[0] == 's' ? 4 : 10;
    std::snprintf(text, sizeof text, "%s: other seeds give other schedules", policy);
    claim(orders.size() >= least && hashes.size() == orders.size(), text, "%zu of 12, %zu hashes",
          orders.size(), hashes.size());
  }
}

// The starved warp comes last, and a low priority does not keep a warp for ever.
void starving() {
  bool last = true;
  for (uint32_t warp = 0; warp < 4; warp++) {
    const Ran ran = run_order({"starve", "eager", 7, warp, 90});
    for (size_t i = 512 - 128; i < 512; i++) last = last && ran.order[i] % 128 / 32 == warp;
  }
  claim(last, "a starved warp runs when no other can");
}

// ---- copies ----

using Barrier = uint64_t[1];

// Reads without a wait what a copy brings: only an early copy shows.
DEV_KERNEL(32) peek_kernel(uint32_t* out, const uint32_t* in, bool bulk) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  const uint32_t lane = dev::thread_x();
  slot[lane] = 1000;
  dev::fence_proxy_async();
  if (lane == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
  }
  dev::syncwarp();
  if (!bulk && lane < 8) dev::cp_async16(slot + 4 * lane, in + 4 * lane);
  dev::cp_async_commit();
  if (bulk && lane == 0) {
    dev::mbar_arrive_expect_tx(bar, 128);
    dev::bulk_g2s(slot, in, 128, bar);
  }
  dev::syncwarp();
  out[lane] = slot[lane];
  dev::syncwarp();
  if (bulk) dev::mbar_wait(bar, 0);
  dev::cp_async_wait<0>();
  dev::syncwarp();
  out[32 + lane] = slot[lane];
}

std::vector<uint32_t> peek(const Schedule& s, bool bulk) {
  test::start(s);
  uint32_t* out = allocate<uint32_t>(64, "out");
  dev::launch(peek_kernel, shape(32, 1, 128), out, upload(counting(32), "in"), bulk);
  return download(out, 64);
}

void landing() {
  for (const bool bulk : {false, true}) {
    bool eager = true, lazy = true, complete = true;
    std::set<std::vector<uint32_t>> seen;
    for (uint64_t seed = 1; seed <= 60; seed++) {
      for (const char* copies : {"eager", "lazy", "random"}) {
        const auto got = peek({"random", copies, seed, 0, 90}, bulk);
        const std::vector<uint32_t> early(got.begin(), got.begin() + 32);
        complete = complete && std::vector<uint32_t>(got.begin() + 32, got.end()) == counting(32);
        if (copies[0] == 'e') eager = eager && early == counting(32);
        if (copies[0] == 'l') lazy = lazy && early == std::vector<uint32_t>(32, 1000);
        if (copies[0] == 'r') seen.insert(early);
      }
    }
    const char* what = bulk ? "bulk copies" : "cp.async";
    char text[100];
    std::snprintf(text, sizeof text, "%s: all there after the wait, whatever the schedule", what);
    claim(complete, text);
    std::snprintf(text, sizeof text, "%s: eager ones land at once, lazy ones only when waited for",
                  what);
    claim(eager && lazy, text);
    std::snprintf(text, sizeof text, "%s: random ones land in parts, in several orders", what);
    claim(seen.size() >= (bulk ? 3 : 8), text, "%zu states seen", seen.size());
  }
}

// Two copies, first and second: which is there when the other is not?
DEV_KERNEL(64) race_of_copies_kernel(uint32_t* out, const uint32_t* in) {
  using Two = uint64_t[2];
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Two, landed);
  const uint32_t warp = dev::thread_x() / 32, lane = dev::thread_x() % 32;
  if (dev::thread_x() == 0) {
    for (int i = 0; i < 2; i++) dev::mbar_init(&landed[i], 1);
    dev::fence_mbar_init();
    for (int i = 0; i < 2; i++) {
      dev::mbar_arrive_expect_tx(&landed[i], 128);
      dev::bulk_g2s(slot + 32 * i, in + 32 * i, 128, &landed[i]);
    }
  }
  dev::syncthreads();
  dev::mbar_wait(&landed[warp], 0);
  if (lane == 0) out[dev::atomic_add(out + 2, 1u)] = warp;
}

void out_of_order() {
  for (const char* policy : {"random", "pct"}) {
    std::set<uint32_t> first;
    for (uint64_t seed = 1; seed <= 40; seed++) {
      test::start({policy, "lazy", seed, 0, 90});
      uint32_t* out = upload(std::vector<uint32_t>{9, 9, 0}, "out");
      dev::launch(race_of_copies_kernel, shape(64, 1, 256), out, upload(counting(64), "in"));
      first.insert(download(out, 1)[0]);
    }
    char text[100];
    std::snprintf(text, sizeof text, "%s: the copy issued second may land first", policy);
    claim(first.size() == 2, text);
  }
}

// ---- limits and faults ----

DEV_KERNEL(1024) plain_kernel(uint32_t* out) {
  if (dev::thread_x() == 0) out[dev::block_x()] = 1;
}

template <uint32_t warps>
DEV_KERNEL(warps * 32)
bounded_kernel(uint32_t* out) {
  if (dev::thread_x() == 0) out[dev::block_x()] = warps;
}

// The status and the one report of a launch.
bool refused(const dev::Launch& launch, uint32_t sm, const std::string& part,
             void (*kernel)(uint32_t*) = plain_kernel) {
  test::start({"round-robin", "eager", 1, 0, sm});
  const dev::Status status = dev::launch(kernel, launch, allocate<uint32_t>(4, "out"));
  const auto found = test::reports();
  return status.code == KVP_INVALID && test::contains(status.text, part) && found.size() == 1 &&
         found[0].kind == "limit" && test::contains(found[0].text, part);
}
bool accepted(const dev::Launch& launch, uint32_t sm, void (*kernel)(uint32_t*) = plain_kernel) {
  test::start({"round-robin", "eager", 1, 0, sm});
  return dev::launch(kernel, launch, allocate<uint32_t>(4, "out")).ok() && test::reports().empty();
}

void limits() {
  claim(refused(shape(1025), 90, "1025 threads") && accepted(shape(1024), 90),
        "1024 threads are the most");
  claim(refused(shape(0), 90, "0 threads"), "a block needs a thread");
  dev::Launch grid = shape(32);
  grid.grid.y = 65536;
  claim(refused(grid, 90, "grid"), "a grid over the limit is a finding");
  grid.grid = {0, 1, 1};
  claim(refused(grid, 90, "grid 0 x"), "so is an empty one");
  bool each = true;
  const uint32_t kib[][2] = {{80, 163}, {89, 99}, {90, 227}};
  for (const auto& [sm, most] : kib) {
    each = each && accepted(shape(32, 1, most * 1024), sm) &&
           refused(shape(32, 1, most * 1024 + 1), sm, "dynamic shared memory");
  }
  claim(each, "shared memory is limited as on each architecture");
  const bool two = accepted(shape(64), 90, bounded_kernel<2>) &&
                   refused(shape(65), 90, "registers for 64", bounded_kernel<2>);
  const bool four = accepted(shape(128), 90, bounded_kernel<4>) &&
                    refused(shape(256), 90, "registers for 128", bounded_kernel<4>);
  claim(two && four, "a launch has the threads that its kernel has registers for, and no more");
}

DEV_KERNEL(32) faulty_kernel(uint32_t* out, int how) {
  uint32_t* nowhere = nullptr;
  volatile uint32_t zero = 0;
  asm volatile("" : "+r"(nowhere));
  if (how == 0) *nowhere = 1;
  if (how == 1) out[0] = 100 / zero;
  if (how == 2) out[1ull << 40] = 1;
  if (how == 3 && dev::thread_x() < 16) dev::shfl_xor(0u, 1);
  if (how == 3) dev::syncthreads();
}

void faults() {
  const char* kinds[] = {"out of bounds", "illegal operation", "out of bounds", "deadlock"};
  for (int how = 0; how < 4; how++) {
    test::start();
    uint32_t* out = allocate<uint32_t>(4, "out");
    dev::launch(faulty_kernel, shape(32), out, how);
    char err[400] = "";
    const bool failed = simt::memory_table.synchronize(nullptr, err, sizeof err) == KVP_DEVICE;
    const auto found = test::reports();
    claim(failed && found.size() == 1 && found[0].kind == kinds[how], kinds[how], "%s, %zu reports",
          err, found.size());
    // Sticky until the device is configured again, and then everything works.
    const bool sticky = !dev::launch(faulty_kernel, shape(32), out, 9).ok();
    test::start();
    const bool works = dev::launch(faulty_kernel, shape(32), allocate<uint32_t>(4, "out"), 9).ok();
    claim(sticky && works, "and the error is sticky until the next configuration");
  }
}

// ---- reports ----

DEV_KERNEL(64) deadlock_kernel(uint32_t* out) {
  DEV_SHARED(Barrier, bar);
  if (dev::thread_x() == 0) dev::mbar_init(bar, 2);
  dev::syncthreads();
  if (dev::thread_x() == 0) dev::mbar_arrive(bar);
  dev::mbar_wait(bar, 0);  // where it hangs
  out[0] = 1;
}

void texts() {
  test::start({"pct", "lazy", 4711, 0, 80});
  dev::launch(deadlock_kernel, shape(64, 2), allocate<uint32_t>(4, "out"));
  const auto found = test::reports();
  if (!claim(found.size() == 1 && found[0].kind == "deadlock", "a deadlock is reported once"))
    return;
  const std::string& text = found[0].text;
  claim(test::contains(text, "deadlock_kernel"), "a report names the kernel", "%s", text.c_str());
  claim(test::contains(text, "block ("), "and the block", "%s", text.c_str());
  claim(test::contains(text, "threads 0-31") && test::contains(text, "threads 32-63"),
        "and the threads", "%s", text.c_str());
  claim(test::contains(text, "pct, copies lazy, seed 4711, sm_80"), "and what replays it", "%s",
        text.c_str());
  claim(test::contains(test::source_line(__FILE__, found[0].line), "where it hangs"),
        "and the line of the source", "%u", found[0].line);
}

}  // namespace

int main() {
  seeds();
  starving();
  landing();
  out_of_order();
  limits();
  faults();
  texts();
  return check::finish();
}
