// ring.h - how record halves travel from the cache to shared memory, in two versions behind one
// interface: BulkRing (sm_90: cp.async.bulk and mbarriers) and AsyncRing (sm_80, sm_89: cp.async
// groups).
//
// Each warp owns a ring of `stages` slots and is the only one that fills, waits for and reads them.
// A ring shared by warps would be wrong: a parity wait can be satisfied by an older phase as soon
// as two warps drift apart. Half j of a warp goes to slot j % stages; halves 2i and 2i + 1 are K
// and V of the warp's i-th record, and the records of a block are dealt to its warps in turn.
//
//   ring.start(...)     the first halves are on their way
//   ring.wait(j)        half j, readable by all lanes
//   ring.release(j)     no lane reads half j any more: its slot takes half j + stages
//
// Every lane of the warp makes every call. All copies have landed when the last half was waited
// for.
#pragma once
#include "../simt/device.h"
#include "record.h"

namespace kvproof {

// Where a warp's halves come from.
template <class R, int WARPS>
struct HalfSource {
  const uint8_t* first;  // first record of this warp; its next one lies WARPS strides further
  size_t stride;         // bytes from one record of the head to the next: kv_heads records
  int halves;            // number of halves of this warp

  DEV_FN const uint8_t* half(int j) const {
    return first + (j >> 1) * (WARPS * stride) + (j & 1) * R::half_bytes;
  }
};

template <class R>
struct BulkRing {
  static constexpr int warps = 8;
  static constexpr int threads = warps * 32;
  // As many slots as fit beside 2 KiB of static shared memory, but no more than three records: more
  // did not help on an H100.
  static constexpr int slots_fitting =
      (static_cast<int>(dev::smem_limit(90)) - 2048) / (warps * R::half_bytes);
  static constexpr int stages = slots_fitting < 6 ? slots_fitting : 6;
  static_assert(stages >= 2);
  static constexpr int slot_bytes = warps * stages * R::half_bytes;  // of the block

  uint8_t* slot;     // shared, (stages, half_bytes)
  uint64_t* landed;  // shared, (stages): completes phase i when half i * stages + slot is there
  HalfSource<R, warps> source;
  int lane;

  DEV_FN void start(uint8_t* slots, HalfSource<R, warps> from, int warp, int lane_) {
    using Barriers = uint64_t[warps * stages];
    DEV_SHARED(Barriers, barriers);
    slot = slots + warp * stages * R::half_bytes;
    landed = barriers + warp * stages;
    source = from;
    lane = lane_;
    if (lane == 0) {
      for (int i = 0; i < stages; i++) dev::mbar_init(&landed[i], 1);
      dev::fence_mbar_init();
      dev::fence_proxy_async();
      for (int j = 0; j < stages && j < source.halves; j++) copy(j);
    }
    dev::syncwarp();
  }
  DEV_FN const uint8_t* wait(int j) {
    dev::mbar_wait(&landed[j % stages], j / stages);
    return slot + (j % stages) * R::half_bytes;
  }
  DEV_FN void release(int j) {
    dev::syncwarp();
    if (lane == 0 && j + stages < source.halves) copy(j + stages);
  }

 private:
  DEV_FN void copy(int j) {
    dev::mbar_arrive_expect_tx(&landed[j % stages], R::half_bytes);
    dev::bulk_g2s(slot + (j % stages) * R::half_bytes, source.half(j), R::half_bytes,
                  &landed[j % stages]);
  }
};

template <class R>
struct AsyncRing {
  // Four warps with two slots fit in the 99 KiB of sm_89, and twice in the 163 KiB of sm_80 except
  // at 4 bits with groups of 32.
  static constexpr int warps = 4;
  static constexpr int threads = warps * 32;
  static constexpr int stages = 2;
  static constexpr int slot_bytes = warps * stages * R::half_bytes;  // of the block
  static_assert(slot_bytes + 2048 <= static_cast<int>(dev::smem_limit(89)));
  static constexpr int chunks = R::half_bytes / 16;
  static_assert(chunks % 32 == 0);

  uint8_t* slot;  // shared, (stages, half_bytes)
  HalfSource<R, warps> source;
  int lane;

  DEV_FN void start(uint8_t* slots, HalfSource<R, warps> from, int warp, int lane_) {
    slot = slots + warp * stages * R::half_bytes;
    source = from;
    lane = lane_;
    for (int j = 0; j < stages; j++) copy(j);
  }
  DEV_FN const uint8_t* wait(int j) {
    // Groups 0 .. j + stages - 1 are committed, some of them empty: one group a half, so that the
    // newest stages - 1 are those after j. A lane waits for its own copies, the warp for all.
    dev::cp_async_wait<stages - 1>();
    dev::syncwarp();
    return slot + (j % stages) * R::half_bytes;
  }
  DEV_FN void release(int j) {
    dev::syncwarp();
    copy(j + stages);
  }

 private:
  DEV_FN void copy(int j) {
    if (j < source.halves) {
      uint8_t* to = slot + (j % stages) * R::half_bytes;
      const uint8_t* from = source.half(j);
      for (int i = lane; i < chunks; i += 32) dev::cp_async16(to + i * 16, from + i * 16);
    }
    dev::cp_async_commit();
  }
};

}  // namespace kvproof
