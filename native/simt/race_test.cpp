// race_test.cpp - checked build: accesses that nothing orders, each beside its right twin.
//
// Every kernel is a template over `right`; the wrong one leaves out what the name says. It must be
// reported under every schedule, whatever the order in which things happened.
#include "test_checked.h"

namespace {

constexpr int kThreads = 64;
using Words = uint32_t[256];
using Barrier = uint64_t[1];

// ---- barriers ----

template <bool right>
DEV_KERNEL(kThreads)
block_barrier_kernel(uint32_t* out) {
  DEV_SHARED(Words, words);
  const uint32_t i = dev::thread_x();
  words[kThreads - 1 - i] = 0;  // other party or reported
  dev::syncthreads();
  words[i] = i;  // other party or reported
  if (right) dev::syncthreads();
  out[i] = words[kThreads - 1 - i];  // other party or reported
}

template <bool right>
DEV_KERNEL(kThreads)
write_after_read_kernel(uint32_t* out) {
  DEV_SHARED(Words, words);
  const uint32_t i = dev::thread_x();
  words[i] = i;
  dev::syncthreads();
  out[i] = words[kThreads - 1 - i];  // other party or reported
  if (right) dev::syncthreads();
  words[i] = 0;  // other party or reported
}

template <bool right>
DEV_KERNEL(32)
warp_barrier_kernel(uint32_t* out) {
  DEV_SHARED(Words, words);
  const uint32_t lane = dev::thread_x();
  if (lane == 0) words[0] = 1;
  dev::syncwarp();
  if (lane == 5) words[0] = 7;  // other party or reported
  if (right) dev::syncwarp();
  dev::shfl_xor(lane, 1);  // orders nothing
  out[lane] = words[0];    // other party or reported
}

template <bool right>
DEV_KERNEL(kThreads)
one_writer_kernel(uint32_t* out) {
  const uint32_t i = dev::thread_x();
  if (!right || i == 0) out[0] = i;  // other party or reported
}

// Bytes of one word are places of their own.
template <bool right>
DEV_KERNEL(32)
bytes_kernel(uint8_t* out) {
  const uint32_t i = dev::thread_x();
  out[right ? i : i / 2] = 1;  // other party or reported
}

template <bool right>
DEV_KERNEL(96)
named_barrier_kernel(uint32_t* out) {
  DEV_SHARED(Words, words);
  const uint32_t warp = dev::thread_x() / 32, lane = dev::thread_x() % 32;
  if (warp == 0) words[lane] = 0;
  dev::syncthreads();
  if (warp == 0) {
    words[lane] = lane;  // other party or reported
    dev::barrier_arrive(1, right ? 96 : 64);
  } else if (right || warp == 1) {
    dev::barrier_sync(1, right ? 96 : 64);
    out[warp * 32 + lane] = words[31 - lane];
  } else {
    out[warp * 32 + lane] = words[31 - lane];  // other party or reported
  }
}

// ---- asynchronous copies ----

// A ring of one slot that is filled twice. The shuffle brings the lanes together and orders
// nothing.
template <bool right>
DEV_KERNEL(32)
slot_reissued_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  const uint32_t lane = dev::thread_x();
  if (lane == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
  }
  dev::syncwarp();
  for (uint32_t i = 0; i < 2; i++) {
    if (lane == 0) {
      dev::mbar_arrive_expect_tx(bar, 128);
      dev::bulk_g2s(slot, in + 32 * i, 128, bar);  // reported
    }
    dev::mbar_wait(bar, i);
    out[32 * i + lane] = slot[lane ^ 1];  // other party
    dev::shfl_xor(lane, 1);
    if (right) dev::syncwarp();
  }
}

template <bool right>
DEV_KERNEL(32)
init_seen_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  const uint32_t lane = dev::thread_x();
  if (lane == 0) {
    dev::mbar_init(bar, 1);  // other party
    dev::fence_mbar_init();
    dev::mbar_arrive_expect_tx(bar, 128);
    dev::bulk_g2s(slot, in, 128, bar);
  }
  dev::shfl_xor(lane, 1);
  if (right) dev::syncwarp();
  dev::mbar_wait(bar, 0);  // reported
  out[lane] = slot[lane];
}

template <bool right>
DEV_KERNEL(32)
no_bulk_wait_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  const uint32_t lane = dev::thread_x();
  if (lane == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
    dev::mbar_arrive_expect_tx(bar, 128);
    dev::bulk_g2s(slot, in, 128, bar);  // other party
  }
  dev::syncwarp();
  if (right) dev::mbar_wait(bar, 0);
  out[lane] = slot[lane];  // reported
  dev::mbar_wait(bar, 0);
}

// Two copies into one place, on one barrier.
template <bool right>
DEV_KERNEL(32)
two_copies_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  const uint32_t lane = dev::thread_x();
  if (lane == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
    dev::mbar_arrive_expect_tx(bar, 256);
    dev::bulk_g2s(slot, in, 128, bar);                          // other party
    dev::bulk_g2s(slot + (right ? 32 : 0), in + 32, 128, bar);  // reported
  }
  dev::syncwarp();
  dev::mbar_wait(bar, 0);
  out[lane] = slot[lane];
}

template <int pending, bool barrier>
DEV_FN void copy_two_groups(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  const uint32_t lane = dev::thread_x();
  slot[lane] = slot[32 + lane] = 0;
  dev::syncwarp();
  for (int i = 0; i < 2; i++) {
    const uint32_t at = 32 * i + 4 * lane;
    if (lane < 8) dev::cp_async16(slot + at, in + at);  // other party or reported
    dev::cp_async_commit();
  }
  dev::cp_async_wait<pending>();
  if (barrier) dev::syncwarp();
  out[lane] = slot[32 + (lane ^ 31)];  // other party or reported
  dev::cp_async_wait<0>();
}
template <bool right>
DEV_KERNEL(32)
group_count_kernel(uint32_t* out, const uint32_t* in) {
  copy_two_groups<right ? 0 : 1, true>(out, in);
}
template <bool right>
DEV_KERNEL(32)
own_copies_only_kernel(uint32_t* out, const uint32_t* in) {
  copy_two_groups<0, right>(out, in);
}

// Shared memory that a later use declares dead while a copy is still writing to it.
template <bool right>
DEV_KERNEL(32)
aliased_early_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  const uint32_t lane = dev::thread_x();
  if (lane == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
    dev::mbar_arrive_expect_tx(bar, 128);
    dev::bulk_g2s(slot, in, 128, bar);  // other party
  }
  dev::syncwarp();
  if (right) dev::mbar_wait(bar, 0);
  dev::syncthreads_fresh(slot, 128);  // reported
  slot[lane] = lane;                  // reported
  out[lane] = slot[lane];
  if (!right) dev::mbar_wait(bar, 0);
}

// ---- the asynchronous proxy ----

template <bool right>
DEV_KERNEL(32)
proxy_fence_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  const uint32_t lane = dev::thread_x();
  slot[lane] = lane;  // other party
  if (right) dev::fence_proxy_async();
  dev::syncwarp();
  if (lane == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
    dev::mbar_arrive_expect_tx(bar, 128);
    dev::bulk_g2s(slot, in, 128, bar);  // reported
  }
  dev::syncwarp();
  dev::mbar_wait(bar, 0);
  out[lane] = slot[lane];
}

template <bool right>
DEV_KERNEL(32)
init_fence_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  if (dev::thread_x() == 0) {
    dev::mbar_init(bar, 1);  // other party
    if (right) dev::fence_mbar_init();
    dev::mbar_arrive_expect_tx(bar, 128);
    dev::bulk_g2s(slot, in, 128, bar);  // reported
  }
  dev::syncwarp();
  dev::mbar_wait(bar, 0);
  out[dev::thread_x()] = slot[dev::thread_x()];
}

// ---- blocks ----

template <bool right>
DEV_KERNEL(32)
same_output_kernel(uint32_t* out) {
  out[(right ? dev::block_x() * 32 : 0) + dev::thread_x()] = 1;  // other party or reported
}

template <bool right>
DEV_KERNEL(32)
reads_another_block_kernel(uint32_t* out) {
  const uint32_t i = dev::block_x() * 32 + dev::thread_x();
  const uint32_t before = out[right ? i : i ^ 32];  // other party or reported
  out[i] = before + 1;                              // other party or reported
}

// The last block to arrive sums what all have written: the usual merge of splits.
template <bool before, bool after>
DEV_FN void last_block_sums(uint32_t* out, uint32_t* partial, uint32_t* counter) {
  DEV_SHARED(Words, shared);
  const uint32_t lane = dev::thread_x(), blocks = dev::grid_x();
  partial[dev::block_x() * 32 + lane] = dev::block_x() + lane;  // other party
  if (before) dev::threadfence();
  dev::syncthreads();
  if (lane == 0) {
    shared[0] = dev::atomic_add(counter, 1u);
    if (after) dev::threadfence();
  }
  dev::syncthreads();
  if (shared[0] != blocks - 1) return;
  uint32_t sum = 0;
  for (uint32_t b = 0; b < blocks; b++) sum += partial[b * 32 + lane];  // reported
  out[lane] = sum;
}
template <bool right>
DEV_KERNEL(32)
fence_before_counter_kernel(uint32_t* out, uint32_t* partial, uint32_t* counter) {
  last_block_sums<right, true>(out, partial, counter);
}
template <bool right>
DEV_KERNEL(32)
fence_after_counter_kernel(uint32_t* out, uint32_t* partial, uint32_t* counter) {
  last_block_sums<true, right>(out, partial, counter);
}

// An atomic and a plain access of one word.
template <bool right>
DEV_KERNEL(kThreads)
mixed_atomics_kernel(uint32_t* counter) {
  if (right || dev::thread_x() % 2 == 0) {
    dev::atomic_add(counter, 1u);  // other party or reported
  } else {
    counter[0] = 0;  // other party or reported
  }
}

using test::shape;
using test::twins;
using test::words;

#define OUT words(512, "out")
#define IN test::counting(256, "in")

}  // namespace

int main() {
  TWINS("no __syncthreads before another warp reads", "race", block_barrier_kernel, shape(kThreads),
        OUT);
  TWINS("no __syncthreads before words are reused", "race", write_after_read_kernel,
        shape(kThreads), OUT);
  TWINS("a shuffle is no __syncwarp", "race", warp_barrier_kernel, shape(32), OUT);
  TWINS("all threads write one word", "race", one_writer_kernel, shape(kThreads), OUT);
  TWINS("two threads write one byte", "race", bytes_kernel, shape(32),
        reinterpret_cast<uint8_t*>(OUT));
  TWINS("a reader takes no part in the named barrier", "race", named_barrier_kernel, shape(96),
        OUT);

  TWINS("no wait for a bulk copy", "race", no_bulk_wait_kernel, shape(32, 1, 512), OUT, IN);
  TWINS("a slot is filled again before its readers are done", "race", slot_reissued_kernel,
        shape(32, 1, 512), OUT, IN);
  TWINS("no __syncwarp after mbarrier.init", "race", init_seen_kernel, shape(32, 1, 512), OUT, IN);
  TWINS("two bulk copies to one place", "race", two_copies_kernel, shape(32, 1, 512), OUT, IN);
  TWINS("cp.async groups: one too few waited for", "race", group_count_kernel, shape(32, 1, 512),
        OUT, IN);
  TWINS("cp.async of other lanes: no __syncwarp after the wait", "race", own_copies_only_kernel,
        shape(32, 1, 512), OUT, IN);
  TWINS("shared memory reused while a copy is on its way", "race", aliased_early_kernel,
        shape(32, 1, 512), OUT, IN);
  TWINS("a bulk copy over a plain write", "missing fence", proxy_fence_kernel, shape(32, 1, 512),
        OUT, IN);
  TWINS("a bulk copy on a new mbarrier", "missing fence", init_fence_kernel, shape(32, 1, 512), OUT,
        IN);

  TWINS("two blocks write one word", "race between blocks", same_output_kernel, shape(32, 2), OUT);
  TWINS("a block reads what another writes", "race between blocks", reads_another_block_kernel,
        shape(32, 2), test::zeros(64, "out"));
  TWINS("no fence before the counter of blocks", "race between blocks", fence_before_counter_kernel,
        shape(32, 4), OUT, words(128, "partial"), test::zeros(1, "counter"));
  TWINS("no fence after the counter of blocks", "race between blocks", fence_after_counter_kernel,
        shape(32, 4), OUT, words(128, "partial"), test::zeros(1, "counter"));
  TWINS("an atomic and a plain write of one word", "race", mixed_atomics_kernel, shape(kThreads),
        test::zeros(1, "counter"));
  return test::finish();
}
