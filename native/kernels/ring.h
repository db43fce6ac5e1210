// ring.h - how K and V travel from the cache to shared memory, in two versions behind one
// interface: BulkRing (sm_90: cp.async.bulk and mbarriers) and AsyncRing (sm_80, sm_89: cp.async
// groups).
//
// Each warp owns a ring of slots and is the only one that fills, waits for and reads them. A ring
// shared by warps would be wrong: a parity wait can be satisfied by an older phase as soon as two
// warps drift apart. Parts of a record are dealt to the warps of a block in turn (a packed record
// is one part; one of 16-bit numbers has several), and each is two halves, K and V:
//
//   ring.start(...)     the first half is on its way
//   ring.fill()         so are those that the other slots have room for
//   ring.wait()         the next half, readable by all lanes
//   ring.release()      no lane reads it any more: its slot takes the next half that has none
//
// Every lane of the warp makes every call. All copies have landed when the last half was waited
// for.
#pragma once
#include "decode_arguments.h"

namespace kvproof {

// Where a warp's halves come from, asked for in order.
struct HalfSource {
  const uint8_t* head;   // this KV head's record of page 0
  size_t page_bytes;     // from one page to the next
  const int32_t* pages;  // global, page of each record of the request; null: they follow each other
  uint32_t first_page;   // of the request, without a page table
  int parts;             // of a record
  uint32_t k_bytes, v_bytes;  // of a half
  uint32_t v_offset;          // from K to V of a part
  int part, end, stride;      // next part of this warp, end of the block's, parts to the next
  int halves;                 // of this warp, that were not asked for yet
  int page;                   // of `part`: asked for early, a table is one trip to memory away
  const uint8_t* k;           // of the last part that was asked for

  DEV_FN int page_of(int of_part) const {
    const int record = of_part / parts;
    return pages != nullptr ? pages[record] : static_cast<int>(first_page) + record;
  }
  DEV_FN void start() {
    halves = part < end ? 2 * ((end - part + stride - 1) / stride) : 0;
    if (halves > 0) page = page_of(part);
  }
  DEV_FN bool next_is_v() const { return halves & 1; }
  DEV_FN uint32_t next_bytes() const { return next_is_v() ? v_bytes : k_bytes; }
  DEV_FN const uint8_t* next() {
    const bool is_v = next_is_v();
    halves--;
    if (is_v) return k + v_offset;
    k = head + static_cast<size_t>(page) * page_bytes + static_cast<size_t>(part % parts) * k_bytes;
    part += stride;
    if (part < end) page = page_of(part);
    return k;
  }
};

// Slots of a warp. More of them lose time on an H100: what is on its way when the first half lands
// is computed when nothing is on its way any more.
constexpr int ring_slots = 2;

// Blocks that share a multiprocessor of sm_90: one starts or merges while the other reads.
constexpr int ring_blocks = 2;

// What either ring has.
struct RingSlots {
  uint8_t* slots;  // shared, this warp's (ring_slots, slot_bytes)
  HalfSource source;
  uint32_t slot_bytes;
  int at, lane;  // at: slot of the next half

  DEV_FN void use(uint8_t* all, const HalfSource& from, const DecodeArguments& args, int warp,
                  int of_lane) {
    slot_bytes = args.slot_bytes;
    slots = all + warp * ring_slots * slot_bytes;
    source = from;
    at = 0;
    lane = of_lane;
  }
};

template <int WARPS>
struct BulkRing : RingSlots {
  static constexpr uint32_t arch = 90;
  static constexpr uint32_t shared_max = dev::smem_limit(90);
  // Warps for halves with so many bytes of words: two blocks fit in 227 KiB, or one if it is large.
  static constexpr int warps_for(int word_bytes) { return word_bytes <= 8192 ? 4 : 3; }

  // Shared, (ring_slots): completes phase i when the i-th half of the slot is there.
  uint64_t* landed;
  bool read_once;
  int round;  // how often slot `at` was used

  DEV_FN void start(uint8_t* all, const HalfSource& from, const DecodeArguments& args, int warp,
                    int of_lane) {
    using Barriers = uint64_t[WARPS * ring_slots];
    DEV_SHARED(Barriers, barriers);
    use(all, from, args, warp, of_lane);
    landed = barriers + warp * ring_slots;
    read_once = args.read_once;
    round = 0;
    if (lane == 0) {
      for (int i = 0; i < ring_slots; i++) dev::mbar_init(&landed[i], 1);
      dev::fence_mbar_init();
      dev::fence_proxy_async();
      source.start();
      if (source.halves > 0) copy(0);
    }
    dev::syncwarp();
  }
  DEV_FN void fill() {
    if (lane != 0) return;
    for (int i = 1; i < ring_slots && source.halves > 0; i++) copy(i);
  }
  DEV_FN const uint8_t* wait() {
    dev::mbar_wait(&landed[at], round);
    return slots + at * slot_bytes;
  }
  DEV_FN void release() {
    dev::syncwarp();
    if (lane == 0 && source.halves > 0) copy(at);
    if (++at == ring_slots) {
      at = 0;
      round++;
    }
  }

 private:
  DEV_FN void copy(int slot) {
    const uint32_t bytes = source.next_bytes();
    dev::mbar_arrive_expect_tx(&landed[slot], bytes);
    dev::bulk_g2s(slots + slot * slot_bytes, source.next(), bytes, &landed[slot], read_once);
  }
};

template <int WARPS>
struct AsyncRing : RingSlots {
  static constexpr uint32_t arch = 80;
  static constexpr uint32_t shared_max = dev::smem_limit(89);
  // As above: one block fits in the 99 KiB of sm_89.
  static constexpr int warps_for(int word_bytes) {
    return word_bytes <= 8192 ? 4 : word_bytes <= 16384 ? 2 : 1;
  }

  DEV_FN void start(uint8_t* all, const HalfSource& from, const DecodeArguments& args, int warp,
                    int of_lane) {
    use(all, from, args, warp, of_lane);
    source.start();
    copy(0);
  }
  DEV_FN void fill() { copy(1); }
  DEV_FN const uint8_t* wait() {
    // Every half has one group, also one that does not exist, so that the newest is of the half
    // after this one. A lane waits for its own copies, the warp for all.
    dev::cp_async_wait<1>();
    dev::syncwarp();
    return slots + at * slot_bytes;
  }
  DEV_FN void release() {
    dev::syncwarp();
    copy(at);
    at ^= 1;
  }

 private:
  DEV_FN void copy(int slot) {
    if (source.halves > 0) {
      const int chunks = static_cast<int>(source.next_bytes() / 16);
      uint8_t* to = slots + slot * slot_bytes;
      const uint8_t* from = source.next();
      for (int i = lane; i < chunks; i += 32) dev::cp_async16(to + i * 16, from + i * 16);
    }
    dev::cp_async_commit();
  }
};

// One launch of decode for the requests of args, with either ring, for each head size.
using LaunchDecode = dev::Status(const DecodeArguments& args, uint32_t bits, void* stream);
template <int HEAD_SIZE, template <int> class RingOf>
LaunchDecode launch_decode_bits;

}  // namespace kvproof
