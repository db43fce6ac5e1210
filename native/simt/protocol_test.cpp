// protocol_test.cpp - checked build: barriers, collectives and mbarriers used against their rules,
// each beside its right twin; and limits of a launch.
#include "test_checked.h"

namespace {

using Words = uint32_t[64];
using Barrier = uint64_t[1];

// ---- __syncthreads and named barriers ----

template <bool right>
DEV_KERNEL(64)
divergent_barrier_kernel(uint32_t* out) {
  if (dev::thread_x() < 32) {
    dev::syncthreads();  // other party or reported
  } else if (right) {
    return;
  } else {
    dev::syncthreads();  // other party or reported
  }
  out[dev::thread_x()] = 1;
}

// The other half of the block never comes, but does not exit either.
template <bool right>
DEV_KERNEL(64)
half_barrier_kernel(uint32_t* out) {
  DEV_SHARED(Barrier, bar);
  if (dev::thread_x() == 0) {
    dev::mbar_init(bar, 1);
    if (right) dev::mbar_arrive(bar);
  }
  dev::syncthreads();
  if (dev::thread_x() >= 32) dev::mbar_wait(bar, 0);  // other party or reported
  dev::syncthreads();                                 // other party or reported
  out[dev::thread_x()] = 1;
}

template <bool right>
DEV_KERNEL(96)
named_count_kernel(uint32_t* out) {
  const uint32_t threads = right || dev::thread_x() >= 32 ? 96 : 64;
  dev::barrier_sync(1, threads);  // other party or reported
  out[dev::thread_x()] = 1;
}

template <bool right>
DEV_KERNEL(64)
named_warp_kernel(uint32_t* out) {
  const uint32_t lane = dev::thread_x() % 32;
  if (right || lane < 16) dev::barrier_sync(2, 64);  // other party or reported
  dev::syncthreads();                                // other party or reported
  out[dev::thread_x()] = 1;
}

template <bool right>
DEV_KERNEL(64)
named_half_full_kernel(uint32_t* out) {
  if (dev::thread_x() < 32) {
    dev::barrier_arrive(3, 64);  // reported
  } else if (right) {
    dev::barrier_sync(3, 64);
  }
  out[dev::thread_x()] = 1;
}

// ---- collectives ----

template <bool right>
DEV_KERNEL(32)
shuffle_in_branch_kernel(uint32_t* out) {
  const uint32_t lane = dev::thread_x();
  uint32_t v = lane;
  if (right || lane < 16) v = dev::shfl_xor(v, 1);  // other party or reported
  v += dev::redux_add(v);                           // other party or reported
  out[lane] = v;
}

template <bool right>
DEV_KERNEL(32)
partial_mask_kernel(uint32_t* out) {
  const uint32_t lane = dev::thread_x();
  uint32_t v = lane;
  for (int offset = 16; offset > 0; offset /= 2) {
    v += dev::shfl_xor(v, offset, right ? ~0u : 0x0000ffffu);  // reported
  }
  out[lane] = v;
}

template <bool right>
DEV_KERNEL(32)
source_outside_mask_kernel(uint32_t* out) {
  const uint32_t lane = dev::thread_x();
  const uint32_t mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  out[lane] = dev::shfl_xor(lane, right ? 8 : 16, mask);  // reported
}

template <bool right>
DEV_KERNEL(32)
exited_lane_kernel(uint32_t* out) {
  const uint32_t lane = dev::thread_x();
  if (!right && lane == 7) return;
  out[lane] = dev::vote_ballot(lane > 3);  // reported
}

template <bool right>
DEV_KERNEL(32)
mma_in_branch_kernel(uint32_t* out) {
  float c[4] = {0, 0, 0, 0};
  const uint32_t lane = dev::thread_x();
  if (right || lane % 2 == 0) {
    dev::mma_f16_f32(c, 0, 0, 0, 0, 0, 0);  // other party or reported
  } else {
    dev::mma_f16_f32(c, 0, 0, 0, 0, 0, 0);  // other party or reported
  }
  out[lane] = dev::bits_from_f32(c[0]);
}

// ---- mbarriers ----

// wrong: 0 nothing, 1 too few bytes announced, 2 too many.
template <int wrong>
DEV_FN void announced(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  if (dev::thread_x() == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
    dev::mbar_arrive_expect_tx(bar, wrong == 1 ? 112 : wrong == 2 ? 144 : 128);
    dev::bulk_g2s(slot, in, 128, bar);  // reported
  }
  dev::syncwarp();
  dev::mbar_wait(bar, 0);  // other party or reported
  out[dev::thread_x()] = slot[dev::thread_x()];
}
template <bool right>
DEV_KERNEL(32)
too_few_bytes_kernel(uint32_t* out, const uint32_t* in) {
  announced<right ? 0 : 1>(out, in);
}
template <bool right>
DEV_KERNEL(32)
too_many_bytes_kernel(uint32_t* out, const uint32_t* in) {
  announced<right ? 0 : 2>(out, in);
}

// Bytes may land before they are announced, as long as an arrival is pending.
template <bool right>
DEV_KERNEL(32)
announced_late_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  if (dev::thread_x() == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
    dev::bulk_g2s(slot, in, 128, bar);                 // reported
    dev::mbar_arrive_expect_tx(bar, right ? 128 : 0);  // reported
  }
  dev::syncwarp();
  dev::mbar_wait(bar, 0);  // other party or reported
  out[dev::thread_x()] = slot[dev::thread_x()];
}

// Armed again while the phase before is not complete.
template <bool right>
DEV_KERNEL(32)
armed_twice_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  const uint32_t lane = dev::thread_x();
  if (lane == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
    dev::mbar_arrive_expect_tx(bar, 256);
    dev::bulk_g2s(slot, in, 128, bar);
    if (!right) dev::mbar_arrive_expect_tx(bar, 128);  // reported
    dev::bulk_g2s(slot + 32, in + 32, 128, bar);
  }
  dev::syncwarp();
  dev::mbar_wait(bar, 0);
  out[lane] = slot[lane];
}

template <bool right>
DEV_KERNEL(32)
initialised_twice_kernel(uint32_t* out) {
  DEV_SHARED(Barrier, bar);
  if (dev::thread_x() < (right ? 1 : 2)) dev::mbar_init(bar, 1);  // reported
  out[dev::thread_x()] = 1;
}

template <bool right>
DEV_KERNEL(32)
no_mbarrier_kernel(uint32_t* out) {
  DEV_SHARED(Barrier, bar);
  if (right && dev::thread_x() == 0) dev::mbar_init(bar, 32);
  dev::syncwarp();
  dev::mbar_arrive(bar);  // reported
  out[dev::thread_x()] = 1;
}

template <bool right>
DEV_KERNEL(32)
word_overwritten_kernel(uint32_t* out) {
  DEV_SHARED(Barrier, bar);
  if (dev::thread_x() == 0) {
    dev::mbar_init(bar, 32);
    if (!right) bar[0] = 0;  // reported
  }
  dev::syncwarp();
  dev::mbar_arrive(bar);  // reported
  out[dev::thread_x()] = 1;
}

// A ring of two slots that four warps share: a warp waits for the second filling of a slot although
// nothing tells it that the first is complete, so the parity of the phase before may let it pass.
template <bool right>
DEV_KERNEL(128)
shared_ring_kernel(uint32_t* out, const uint32_t* in) {
  using Slots = uint64_t[2];
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Slots, landed);
  const uint32_t warp = dev::thread_x() / 32, lane = dev::thread_x() % 32;
  if (dev::thread_x() == 0) {
    for (int i = 0; i < 2; i++) {
      dev::mbar_init(&landed[i], 1);
      dev::fence_mbar_init();
      dev::mbar_arrive_expect_tx(&landed[i], 128);
      dev::bulk_g2s(slot + 32 * i, in + 32 * i, 128, &landed[i]);
    }
  }
  dev::syncthreads();
  if (warp < 2) {
    dev::mbar_wait(&landed[warp], 0);
    out[32 * warp + lane] = slot[32 * warp + lane];
    dev::syncwarp();
    if (lane == 0) {
      dev::mbar_arrive_expect_tx(&landed[warp], 128);
      dev::bulk_g2s(slot + 32 * warp, in + 64 + 32 * warp, 128, &landed[warp]);
    }
  }
  if (right) dev::syncthreads();
  if (warp >= 2) {
    dev::mbar_wait(&landed[warp - 2], 1);  // reported
    out[32 * warp + lane] = slot[32 * (warp - 2) + lane];
  } else {
    dev::mbar_wait(&landed[warp], 1);
  }
}

template <bool right>
DEV_KERNEL(32)
never_waited_for_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  if (dev::thread_x() == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
    dev::mbar_arrive_expect_tx(bar, 128);
    dev::bulk_g2s(slot, in, 128, bar);  // reported
  }
  dev::syncwarp();
  if (right) dev::mbar_wait(bar, 0);
  out[dev::thread_x()] = 1;
}

template <bool right>
DEV_KERNEL(8)
never_waited_group_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  const uint32_t i = dev::thread_x();
  dev::cp_async16(slot + 4 * i, in + 4 * i);  // reported
  dev::cp_async_commit();
  if (right) dev::cp_async_wait<0>();
  dev::cp_async_commit();  // an empty group needs no wait
  out[i] = 1;
}

// ---- deadlock ----

template <bool right>
DEV_KERNEL(32)
wrong_phase_kernel(uint32_t* out) {
  DEV_SHARED(Barrier, bar);
  if (dev::thread_x() == 0) dev::mbar_init(bar, 32);
  dev::syncwarp();
  dev::mbar_arrive(bar);
  dev::mbar_wait(bar, 0);
  dev::mbar_arrive(bar);
  dev::mbar_wait(bar, right ? 1 : 2);  // other party or reported
  out[dev::thread_x()] = 1;
}

template <bool right>
DEV_KERNEL(64)
polling_kernel(uint32_t* out, uint32_t* flag) {
  if (dev::thread_x() == 63 && right) dev::atomic_store(flag, 1);
  if (dev::thread_x() == 0) {
    while (dev::atomic_load(flag) == 0) {  // reported
    }
    out[0] = 1;
  }
}

// ---- limits ----

using Large = uint8_t[40 * 1024];
template <bool right>
DEV_KERNEL(1)
static_and_dynamic_kernel(uint32_t* out) {
  DEV_SHARED(Large, large);  // reported
  DEV_DYN_SHARED(uint8_t, more, 16);
  large[0] = more[0] = 1;
  out[0] = large[0];
}

using test::shape;
using test::twins;
using test::words;

#define OUT words(1024, "out")
#define IN test::counting(256, "in")

}  // namespace

int main() {
  TWINS("__syncthreads in two branches", "divergence", divergent_barrier_kernel, shape(64), OUT);
  TWINS("half of the block does not come", "deadlock", half_barrier_kernel, shape(64), OUT);
  TWINS("two counts of one barrier", "barrier misuse", named_count_kernel, shape(96), OUT);
  TWINS("half a warp at a named barrier", "divergence", named_warp_kernel, shape(64), OUT);
  TWINS("a named barrier half full", "barrier misuse", named_half_full_kernel, shape(64), OUT);

  TWINS("a shuffle in a branch", "divergence", shuffle_in_branch_kernel, shape(32), OUT);
  TWINS("a mask without its own lane", "divergence", partial_mask_kernel, shape(32), OUT);
  TWINS("a source outside of the mask", "divergence", source_outside_mask_kernel, shape(32), OUT);
  TWINS("a lane of the mask has exited", "divergence", exited_lane_kernel, shape(32), OUT);
  TWINS("mma at two lines", "divergence", mma_in_branch_kernel, shape(32), OUT);

  twins(
      "fewer bytes announced than copied", "mbarrier misuse",
      [] { dev::launch(too_few_bytes_kernel<false>, shape(32, 1, 512), OUT, IN); },
      [] { dev::launch(too_few_bytes_kernel<true>, shape(32, 1, 512), OUT, IN); }, "deadlock");
  TWINS("more bytes announced than copied", "deadlock", too_many_bytes_kernel, shape(32, 1, 512),
        OUT, IN);
  twins(
      "bytes that nobody announces", "mbarrier misuse",
      [] { dev::launch(announced_late_kernel<false>, shape(32, 1, 512), OUT, IN); },
      [] { dev::launch(announced_late_kernel<true>, shape(32, 1, 512), OUT, IN); },
      "deadlock, race");
  TWINS("armed before the phase is complete", "mbarrier misuse", armed_twice_kernel,
        shape(32, 1, 512), OUT, IN);
  TWINS("initialised twice", "mbarrier misuse", initialised_twice_kernel, shape(32), OUT);
  TWINS("never initialised", "mbarrier misuse", no_mbarrier_kernel, shape(32), OUT);
  TWINS("its word overwritten", "mbarrier misuse", word_overwritten_kernel, shape(32), OUT);
  twins(
      "a wait that an older phase can satisfy", "mbarrier phase",
      [] { dev::launch(shared_ring_kernel<false>, shape(128, 1, 512), OUT, IN); },
      [] { dev::launch(shared_ring_kernel<true>, shape(128, 1, 512), OUT, IN); },
      "race, deadlock, copy in flight at exit");
  TWINS("a bulk copy", "copy in flight at exit", never_waited_for_kernel, shape(32, 1, 512), OUT,
        IN);
  TWINS("a cp.async group", "copy in flight at exit", never_waited_group_kernel, shape(8, 1, 512),
        OUT, IN);

  twins(
      "a phase that never comes", "deadlock",
      [] { dev::launch(wrong_phase_kernel<false>, shape(32), OUT); },
      [] { dev::launch(wrong_phase_kernel<true>, shape(32), OUT); }, "mbarrier phase");
  TWINS("polling for what never comes", "deadlock", polling_kernel, shape(64), OUT,
        test::zeros(1, "flag"));

  twins(
      "static and dynamic shared memory without opt-in", "limit",
      [] { dev::launch(static_and_dynamic_kernel<false>, shape(1, 1, 20 * 1024), OUT); },
      [] { dev::launch(static_and_dynamic_kernel<true>, shape(1, 1, 8 * 1024), OUT); });
  return test::finish();
}
