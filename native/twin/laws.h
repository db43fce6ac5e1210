// laws.h - the laws of memory for a run: every buffer lies between redzones, outputs are poisoned,
// inputs are compared with what they were. As native/host/buffers.h has them, where the buffers
// are.
#pragma once
#include "cache.h"
#include "memory.h"

namespace kvproof_reference {

constexpr int64_t redzone_bytes = 4096;

// What a batch counts for a case, on the device.
struct Counters {
  uint64_t wrong_codes, redzone, changed, unwritten, differing, stray, rejected, worst;
};

struct Guarded {
  uint8_t* data;
  int64_t bytes;
};

inline Guarded guarded(Memory* memory, int64_t bytes) {
  return {memory->take(static_cast<uint64_t>(bytes + 2 * redzone_bytes)) + redzone_bytes, bytes};
}

// 0x9E3779B1 is 2^32 divided by the golden ratio (Knuth, TAOCP 3, 6.4): the top byte looks random.
TWIN_FN uint8_t redzone_byte(uint8_t poison, uint64_t position) {
  return static_cast<uint8_t>(poison ^ ((static_cast<uint32_t>(position + 1) * 0x9E3779B1u) >> 24));
}

// Buffers that one loop goes over together: a launch costs more than most of them hold.
constexpr int buffers_max = 10;
struct BufferList {
  Guarded buffers[buffers_max];
  int64_t count = 0, bytes = 0;  // bytes: of all data

  void add(const Guarded& g) {
    buffers[count++] = g;
    bytes += g.bytes;
  }
};

TWIN_FN uint8_t* redzone_at(const BufferList& list, uint64_t i) {
  const Guarded& g = list.buffers[i / (2 * redzone_bytes)];
  const int64_t at = static_cast<int64_t>(i % (2 * redzone_bytes));
  return g.data + (at < redzone_bytes ? at - redzone_bytes : g.bytes + at - redzone_bytes);
}

inline void poison_redzones(Stream stream, const BufferList& list, uint8_t poison) {
  const auto bytes = static_cast<uint64_t>(2 * redzone_bytes * list.count);
  for_each(
      stream, bytes, TWIN_LOOP(uint64_t i) {
        *redzone_at(list, i) = redzone_byte(poison, i % (2 * redzone_bytes));
      });
}

inline void check_redzones(Stream stream, const BufferList& list, uint8_t poison,
                           Counters* counters) {
  const auto bytes = static_cast<uint64_t>(2 * redzone_bytes * list.count);
  for_each(
      stream, bytes, TWIN_LOOP(uint64_t i) {
        const bool is_wrong = *redzone_at(list, i) != redzone_byte(poison, i % (2 * redzone_bytes));
        add_into(&counters->redzone, is_wrong);
      });
}

inline void poison_data(Stream stream, const BufferList& list, uint8_t poison) {
  for_each(
      stream, static_cast<uint64_t>(list.bytes), TWIN_LOOP(uint64_t i) {
        int64_t at = static_cast<int64_t>(i), buffer = 0;
        while (at >= list.buffers[buffer].bytes) at -= list.buffers[buffer++].bytes;
        list.buffers[buffer].data[at] = poison;
      });
}

// Rows of (tokens, heads), `size` words each, at distances in words; poison fills what is between.
struct Rows {
  const uint16_t* words;  // dense
  uint64_t size, heads, head_stride, token_stride;
  uint8_t poison;

  TWIN_FN uint16_t at(uint64_t i) const {
    const uint64_t head = i % token_stride / head_stride, d = i % token_stride % head_stride;
    const bool is_gap = head >= heads || d >= size;
    const uint64_t row = i / token_stride * heads + head;
    return is_gap ? static_cast<uint16_t>(poison | (poison << 8)) : words[row * size + d];
  }
};

inline void place_rows(Stream stream, const Guarded& g, const Rows& rows) {
  uint16_t* out = reinterpret_cast<uint16_t*>(g.data);
  for_each(
      stream, static_cast<uint64_t>(g.bytes / 2), TWIN_LOOP(uint64_t i) { out[i] = rows.at(i); });
}

inline void check_rows(Stream stream, const Guarded& g, const Rows& rows, Counters* counters) {
  const uint16_t* found = reinterpret_cast<const uint16_t*>(g.data);
  for_each(
      stream, static_cast<uint64_t>(g.bytes / 2),
      TWIN_LOOP(uint64_t i) { add_into(&counters->changed, found[i] != rows.at(i)); });
}

// Bytes of two runs that must be defined: equal, and not the poison of both.
inline void compare_runs(Stream stream, const uint8_t* a, const uint8_t* b, int64_t bytes,
                         Counters* counters) {
  for_each(
      stream, static_cast<uint64_t>(bytes), TWIN_LOOP(uint64_t i) {
        add_into(&counters->differing, a[i] != b[i]);
        add_into(&counters->unwritten, a[i] == 0xff && b[i] == 0x5a);
      });
}

// used: (pages), 1 where a record lies in.
inline void compare_pages(Stream stream, const uint8_t* a, const uint8_t* b, int64_t page_bytes,
                          int64_t pages, const int64_t* used, Counters* counters) {
  for_each(
      stream, static_cast<uint64_t>(page_bytes * pages), TWIN_LOOP(uint64_t i) {
        if (used[i / static_cast<uint64_t>(page_bytes)] != 0) {
          add_into(&counters->differing, a[i] != b[i]);
          add_into(&counters->unwritten, a[i] == 0xff && b[i] == 0x5a);
        } else {
          add_into(&counters->stray, a[i] != 0xff || b[i] != 0x5a);
        }
      });
}

// Rows of a residual window before the end of the request; a, b (requests, 128, row_bytes).
inline void compare_windows(Stream stream, const Shape& s, const uint8_t* a, const uint8_t* b,
                            Counters* counters) {
  const int64_t row_bytes = 2 * s.kv_heads * s.head_size, window = record_tokens * row_bytes;
  for_each(
      stream, static_cast<uint64_t>(s.requests * window), TWIN_LOOP(uint64_t i) {
        const int64_t at = static_cast<int64_t>(i);
        if (at % window / row_bytes >= s.tokens[at / window] % record_tokens) return;
        add_into(&counters->differing, a[i] != b[i]);
        add_into(&counters->unwritten, a[i] == 0xff && b[i] == 0x5a);
      });
}

}  // namespace kvproof_reference
