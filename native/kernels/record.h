// record.h - the cache layout "record128", in one place for every kernel and the host code.
//
// A record holds 128 tokens of one KV head (head size 128), contiguous:
//
//   K words | K parameters | V words | V parameters
//
// The first two and the last two parts are one half each: the unit that decode copies and waits
// for. The cache is (pages, kv_heads, record); page firstPage[request] + i holds tokens 128 i to
// 128 i + 127 of a request. Only full records are packed; the last tokens % 128 stay in fp16.
//
// Words. K is a matrix (token, channel), V is stored transposed, (channel, token). Both are packed
// alike: a 32-bit word holds what one lane feeds to mma.m16n8k16 as operand A, one fragment of 8
// codes at 4 bits, two fragments at 2 bits, so that a lane reads 16 bytes and needs no shuffle.
// Element (row, column) of a fragment sits in lane g * 4 + c, register a (0..3), half h (0..1) with
//   row = 16 rowTile + g + 8 (a & 1),  column = 16 step + 2 c + h + 8 (a >> 1).
// reference/pack.ts is written independently from the same description.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace kvproof {

constexpr int head_size = 128;      // channels of a head, fixed by this layout
constexpr int record_tokens = 128;  // tokens of a record
constexpr int row_tiles = 8;        // tiles of 16 rows in a 128 x 128 matrix
constexpr int column_steps = 8;     // steps of 16 columns

// Sizes in bytes of the parts of a record.
template <int BITS, int GROUP>
struct Record {
  static_assert(BITS == 4 || BITS == 2);
  static_assert(GROUP == 128 || GROUP == 64 || GROUP == 32);
  static constexpr int bits = BITS;
  static constexpr int group = GROUP;
  static constexpr int groups = 128 / GROUP;  // of K: along tokens; of V: along channels
  static constexpr int word_bytes = record_tokens * head_size * BITS / 8;
  static constexpr int parameter_bytes = 512 * groups;  // fp16 scale and zero, 128 of each a group
  static constexpr int half_bytes = word_bytes + parameter_bytes;
  static constexpr int bytes = 2 * half_bytes;
  static constexpr int code_max = (1 << BITS) - 1;
  // Words of one lane for one row tile, and the column steps that one word covers.
  static constexpr int lane_words = BITS == 4 ? 8 : 4;
  static constexpr int steps_per_word = BITS == 4 ? 1 : 2;
};

constexpr uint64_t record_bytes(uint32_t bits, uint32_t group) {
  return 2 * (uint64_t{record_tokens} * head_size * bits / 8 + 512 * (128 / group));
}

// Which 32-bit word of K words or V words: row tile, word of the lane (0..lane_words-1), lane. Four
// words of a lane are adjacent, so that they are one 16-byte load.
template <int BITS>
constexpr int word_index(int row_tile, int word, int lane) {
  constexpr int quads = BITS == 4 ? 2 : 1;
  return ((row_tile * quads + word / 4) * 32 + lane) * 4 + word % 4;
}

// Where the code of (step, register a, half h) sits in its word: the lowest bit.
template <int BITS>
constexpr int field_bit(int step, int a, int h) {
  const int field = BITS == 4 ? (a >> 1) * 4 : (step & 1) * 4 + (a >> 1) * 2;
  return field + (a & 1) * 8 + h * 16;
}

// The same from a (row, column) of the matrix: the word, and the lowest bit of the code in it.
template <int BITS>
constexpr int code_word(int row, int column) {
  const int lane = (row & 7) * 4 + ((column & 7) >> 1);
  return word_index<BITS>(row >> 4, (column >> 4) / (BITS == 4 ? 1 : 2), lane);
}
template <int BITS>
constexpr int code_bit(int row, int column) {
  const int a = ((row >> 3) & 1) + ((column >> 3) & 1) * 2;
  return field_bit<BITS>(column >> 4, a, column & 1);
}

// A code at bits 4..7 of its byte counts 16 times as much as one at bits 0..3 (at 2 bits: 4 times
// as much a field), because the kernel masks and never shifts. log2 of that factor for the columns
// of (step, upper 8 columns or not); operand B carries the inverse.
template <int BITS>
constexpr int field_weight_log2(int step, int upper) {
  return field_bit<BITS>(step, 2 * upper, 0);
}

// K parameters of a token group: 128 fp16 scales, then 128 fp16 zeros, each in this order, so that
// the channels that a lane multiplies in a step are adjacent.
constexpr int k_parameter_index(int channel) {
  const int step = channel >> 4, r = channel & 15;
  return (((r & 7) >> 1) * 8 + step) * 4 + (r >> 3) * 2 + (r & 1);
}
// V parameters of a channel group: 128 tokens, one 32-bit word each, scale low and zero high.

}  // namespace kvproof
