// laws.h - the laws of memory for a run: every buffer lies between redzones, outputs are poisoned,
// inputs are compared with what they were. As native/host/buffers.h has them, where the buffers
// are.
#pragma once
#include "cache.h"
#include "memory.h"

namespace kvproof_reference {

constexpr int64_t redzone_bytes = 4096;
constexpr uint8_t first_poison = 0xff, second_poison = 0x5a;

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

// Loops over bytes take a unit at a time: a byte at a time they cost as much as an emulated kernel.
constexpr int64_t unit = 16;
static_assert(redzone_bytes % unit == 0);
constexpr int64_t units_of(int64_t bytes) { return (bytes + unit - 1) / unit; }

// The bytes of unit i of `bytes`: the last one may be short. Loops below name `unit`
// where there are so many, so that a compiler sees a constant and makes one instruction of them.
TWIN_FN int64_t unit_bytes(int64_t i, int64_t bytes) {
  return (i + 1) * unit <= bytes ? unit : bytes - i * unit;
}

// Buffers that one loop goes over together: a launch costs more than most of them hold.
constexpr int buffers_max = 10;
struct BufferList {
  Guarded buffers[buffers_max];
  int64_t count = 0, units = 0;  // units: of all data

  void add(const Guarded& g) {
    buffers[count++] = g;
    units += units_of(g.bytes);
  }
};

// Unit i of all redzones: 2 redzone_bytes / unit of them for each buffer.
struct RedzoneUnit {
  uint8_t* data;
  uint8_t expected[unit];

  TWIN_FN RedzoneUnit(const BufferList& list, int64_t i, uint8_t poison) {
    const Guarded& g = list.buffers[i * unit / (2 * redzone_bytes)];
    const int64_t at = i * unit % (2 * redzone_bytes);
    data = g.data + (at < redzone_bytes ? at - redzone_bytes : g.bytes + at - redzone_bytes);
    for (int64_t k = 0; k < unit; k++)
      expected[k] = redzone_byte(poison, static_cast<uint64_t>(at + k));
  }
};

inline uint64_t redzone_units(const BufferList& list) {
  return static_cast<uint64_t>(2 * redzone_bytes / unit * list.count);
}

inline void poison_redzones(Stream stream, const BufferList& list, uint8_t poison) {
  for_each(
      stream, redzone_units(list), TWIN_LOOP(uint64_t i) {
        const RedzoneUnit zone(list, static_cast<int64_t>(i), poison);
        memcpy(zone.data, zone.expected, unit);
      });
}

inline void check_redzones(Stream stream, const BufferList& list, uint8_t poison,
                           Counters* counters) {
  for_each(
      stream, redzone_units(list), TWIN_LOOP(uint64_t i) {
        const RedzoneUnit zone(list, static_cast<int64_t>(i), poison);
        uint64_t wrong = 0;
        for (int64_t k = 0; k < unit; k++) wrong += zone.data[k] != zone.expected[k];
        add_into(&counters->redzone, wrong);
      });
}

inline void poison_data(Stream stream, const BufferList& list, uint8_t poison) {
  for_each(
      stream, static_cast<uint64_t>(list.units), TWIN_LOOP(uint64_t i) {
        int64_t at = static_cast<int64_t>(i), buffer = 0;
        while (at >= units_of(list.buffers[buffer].bytes))
          at -= units_of(list.buffers[buffer++].bytes);
        const Guarded& g = list.buffers[buffer];
        const int64_t bytes = unit_bytes(at, g.bytes);
        if (bytes == unit)
          memset(g.data + at * unit, poison, unit);
        else
          memset(g.data + at * unit, poison, static_cast<size_t>(bytes));
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

// Bytes of two runs, a poisoned with first_poison and b with second_poison.
struct Compared {
  uint64_t differing = 0, unwritten = 0, changed = 0;  // changed: in either run

  TWIN_FN Compared(const uint8_t* a, const uint8_t* b, int64_t bytes) {
    if (bytes == unit)
      count(a, b, unit);
    else
      count(a, b, bytes);
  }

 private:
  TWIN_FN void count(const uint8_t* a, const uint8_t* b, int64_t bytes) {
    uint32_t differ = 0, unwrote = 0;
    for (int64_t k = 0; k < bytes; k++) {
      differ += a[k] != b[k];
      unwrote += a[k] == first_poison && b[k] == second_poison;
    }
    differing = differ;
    unwritten = unwrote;
    changed = static_cast<uint64_t>(bytes) - unwrote;
  }
};

// What must be defined: equal, and not the poison of both.
TWIN_FN void count_defined(const Compared& c, Counters* counters) {
  add_into(&counters->differing, c.differing);
  add_into(&counters->unwritten, c.unwritten);
}

inline void compare_runs(Stream stream, const uint8_t* a, const uint8_t* b, int64_t bytes,
                         Counters* counters) {
  for_each(
      stream, static_cast<uint64_t>(units_of(bytes)), TWIN_LOOP(uint64_t i) {
        const int64_t at = static_cast<int64_t>(i) * unit;
        const int64_t n = unit_bytes(static_cast<int64_t>(i), bytes);
        count_defined(Compared(a + at, b + at, n), counters);
      });
}

// used: (pages), 1 where a record lies in.
inline void compare_pages(Stream stream, const uint8_t* a, const uint8_t* b, int64_t page_bytes,
                          int64_t pages, const int64_t* used, Counters* counters) {
  const int64_t page_units = units_of(page_bytes);
  for_each(
      stream, static_cast<uint64_t>(page_units * pages), TWIN_LOOP(uint64_t i) {
        const int64_t page = static_cast<int64_t>(i) / page_units;
        const int64_t in_page = static_cast<int64_t>(i) % page_units;
        const int64_t at = page * page_bytes + in_page * unit;
        const Compared c(a + at, b + at, unit_bytes(in_page, page_bytes));
        if (used[page] != 0)
          count_defined(c, counters);
        else
          add_into(&counters->stray, c.changed);
      });
}

// Rows of a residual window before the end of the request; a, b (requests, 128, row_bytes).
inline void compare_windows(Stream stream, const Shape& s, const uint8_t* a, const uint8_t* b,
                            Counters* counters) {
  const int64_t row_bytes = 2 * s.kv_heads * s.head_size, row_units = units_of(row_bytes);
  for_each(
      stream, static_cast<uint64_t>(s.requests * record_tokens * row_units), TWIN_LOOP(uint64_t i) {
        const int64_t row = static_cast<int64_t>(i) / row_units;
        if (row % record_tokens >= s.tokens[row / record_tokens] % record_tokens) return;
        const int64_t in_row = static_cast<int64_t>(i) % row_units;
        const int64_t at = row * row_bytes + in_row * unit;
        count_defined(Compared(a + at, b + at, unit_bytes(in_row, row_bytes)), counters);
      });
}

}  // namespace kvproof_reference
