// pipeline_test.cpp - checked build: the usual pipelines of copies and readers, right and with one
// step in the wrong place.
#include "test_checked.h"

namespace {

constexpr int kStages = 2, kRounds = 7, kWords = 32;  // words of one round

// One warp fills a ring, two others read it; full and empty mbarriers in both directions.
template <bool right>
DEV_KERNEL(96)
producer_kernel(uint32_t* out, const uint32_t* in) {
  using Barriers = uint64_t[kStages];
  DEV_DYN_SHARED(uint32_t, slots, 128);
  DEV_SHARED(Barriers, full);
  DEV_SHARED(Barriers, empty);
  const uint32_t warp = dev::thread_x() / 32, lane = dev::thread_x() % 32;
  if (dev::thread_x() == 0) {
    for (int i = 0; i < kStages; i++) {
      dev::mbar_init(&full[i], 1);
      dev::mbar_init(&empty[i], 64);
    }
    dev::fence_mbar_init();
  }
  dev::syncthreads();
  for (int i = 0; i < kRounds; i++) {
    const int stage = i % kStages, lap = i / kStages;
    uint32_t* slot = slots + stage * kWords;
    if (warp == 0) {
      if (lane != 0) continue;
      if (lap > 0) dev::mbar_wait(&empty[stage], static_cast<uint32_t>(lap - 1));
      dev::mbar_arrive_expect_tx(&full[stage], kWords * 4);
      dev::bulk_g2s(slot, in + i * kWords, kWords * 4, &full[stage]);  // other party or reported
    } else {
      dev::mbar_wait(&full[stage], static_cast<uint32_t>(lap));
      if (!right) dev::mbar_arrive(&empty[stage]);
      out[(i * 2 + warp - 1) * kWords + lane] = slot[lane ^ 1];  // other party or reported
      if (right) dev::mbar_arrive(&empty[stage]);
    }
  }
}

// All threads fill two stages by cp.async and read the whole of each.
template <bool right>
DEV_KERNEL(64)
cp_async_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slots, 128);
  const uint32_t t = dev::thread_x();
  const auto fill = [&](int round) {
    uint32_t* slot = slots + round % kStages * 256 + 4 * t;
    if (round < kRounds)
      dev::cp_async16(slot, in + (round * 4 + 4 * t) % 256);  // other party or reported
    dev::cp_async_commit();
  };
  fill(0);
  uint32_t sum = 0;
  for (int i = 0; i < kRounds; i++) {
    fill(i + 1);
    dev::cp_async_wait<1>();
    dev::syncthreads();
    sum += slots[i % kStages * 256 + 4 * (63 - t)];  // other party or reported
    if (right) dev::syncthreads();
  }
  out[t] = sum;
}

// Two warps hand a buffer back and forth by named barriers.
template <bool right>
DEV_KERNEL(64)
hand_over_kernel(uint32_t* out) {
  using Words = uint32_t[32];
  DEV_SHARED(Words, words);
  const uint32_t warp = dev::thread_x() / 32, lane = dev::thread_x() % 32;
  for (uint32_t i = 0; i < 4; i++) {
    if (warp == 0) {
      if (i > 0) dev::barrier_sync(2, 64);
      words[lane] = i + lane;  // other party or reported
      dev::barrier_arrive(1, 64);
    } else {
      dev::barrier_sync(1, 64);
      if (!right && i < 3) dev::barrier_arrive(2, 64);
      out[i * 32 + lane] = words[31 - lane];  // other party or reported
      if (right && i < 3) dev::barrier_arrive(2, 64);
    }
  }
}

// A counter of the block by atomics, and what each thread wrote before it counted itself.
template <bool right>
DEV_KERNEL(64)
last_thread_kernel(uint32_t* out, uint32_t* scratch, uint32_t* counter) {
  const uint32_t t = dev::thread_x();
  scratch[t] = t;  // other party or reported
  if (right) dev::threadfence();
  const bool last = dev::atomic_add(counter, 1u) == 63;
  if (!last) return;
  dev::threadfence();
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 64; i++) sum += scratch[i];  // other party or reported
  out[0] = sum;
}

using test::shape;
using test::twins;
using test::words;

#define OUT words(1024, "out")
#define IN test::counting(256, "in")

}  // namespace

int main() {
  TWINS("a slot is given back before it is read", "race", producer_kernel, shape(96, 1, 512), OUT,
        IN);
  TWINS("no barrier before a stage is filled again", "race", cp_async_kernel, shape(64, 1, 2048),
        OUT, IN);
  TWINS("a buffer is handed back before it is read", "race", hand_over_kernel, shape(64), OUT);
  TWINS("no fence before a thread counts itself", "race", last_thread_kernel, shape(64), OUT,
        words(64, "scratch"), test::zeros(1, "counter"));
  return test::finish();
}
