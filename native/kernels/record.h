// record.h - the layout of the cache, in one place for every kernel and the host code.
//
// A record holds 128 tokens of one KV head of size D, contiguous:
//
//   K words | K parameters | V words | V parameters
//
// The first two and the last two parts are one half each: the unit that decode copies and waits
// for. The cache is (pages, kv_heads, record); without a page table, page firstPage[request] + i
// holds tokens 128 i to 128 i + 127 of a request. Only full records are packed; the last tokens %
// 128 stay as they came, in the residual window.
//
// Words. K is a matrix (token, channel), V is stored transposed, (channel, token). Both are packed
// alike (CodeMatrix): words are what lanes feed to mma.m16n8k16 as operand A, so that a lane reads
// up to 16 bytes and needs no shuffle.
//
// Parameters are fp16, a scale and a zero for each group. K per channel: for each group of tokens D
// scales, then D zeros, in the order of k_parameter_index. K per token: for each group of channels
// 128 tokens, one 32-bit word each, scale low and zero high. V always as K per token.
//
// At 16 bits (format "fp16") nothing is packed: K (token, channel), then V (token, channel).
// reference/pack.ts is written independently from the same description.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "../plugin/kernel_abi.h"

namespace kvproof {

constexpr int record_tokens = 128;  // tokens of a record
constexpr int head_size_max = 256;

// Which 32-bit word of a matrix of codes: row tile, word of the lane (0 .. lane_words - 1), lane.
// Up to four words of a lane are adjacent: one load. A row tile has lane_words * 32 words.
constexpr int lane_word_index(int lane_words, int row_tile, int word, int lane) {
  const int unit_words = lane_words < 4 ? lane_words : 4;
  const int unit = row_tile * (lane_words / unit_words) + word / unit_words;
  return (unit * 32 + lane) * unit_words + word % unit_words;
}

// A matrix of codes of BITS bits (2, 4, 8): fragments of 16 rows and 16 columns (row tile, step).
// Element (row, column) of a fragment sits in lane g * 4 + c, register a (0..3), half h (0..1) with
//   row = 16 tile + g + 8 (a & 1),  column = 16 step + 2 c + h + 8 (a >> 1).
template <int BITS, int ROWS, int COLUMNS>
struct CodeMatrix {
  static_assert(BITS == 2 || BITS == 4 || BITS == 8);
  static_assert(ROWS % 16 == 0 && COLUMNS % 32 == 0);
  static constexpr int bits = BITS, rows = ROWS, columns = COLUMNS;
  static constexpr int row_tiles = ROWS / 16, steps = COLUMNS / 16;
  static constexpr int bytes = ROWS * COLUMNS * BITS / 8;
  // Words of one lane for one row tile, and how many of them are adjacent: one load.
  static constexpr int lane_words = steps * BITS / 4;
  static constexpr int unit_words = lane_words < 4 ? lane_words : 4;

  // The word of a lane that holds register a of a step: 4 bits have a word a step, 2 bits a word
  // for two, 8 bits two words a step.
  static constexpr int field_word(int step, int a) {
    return BITS == 8 ? 2 * step + (a >> 1) : BITS == 4 ? step : step / 2;
  }
  // Where the code of (step, register a, half h) sits in its word: the lowest bit.
  static constexpr int field_bit(int step, int a, int h) {
    const int field = BITS == 8 ? 0 : BITS == 4 ? (a >> 1) * 4 : (step & 1) * 4 + (a >> 1) * 2;
    return field + (a & 1) * 8 + h * 16;
  }
  // A code at bits 4..7 of its byte counts 16 times as much as one at bits 0..3 (at 2 bits: 4 times
  // as much a field), because decode masks and never shifts. log2 of that factor for the columns of
  // (step, upper 8 columns or not); operand B carries the inverse.
  static constexpr int field_weight_log2(int step, int upper) {
    return field_bit(step, 2 * upper, 0);
  }
};

// Where the parameters of a channel are, K per channel: the channels that a lane multiplies in a
// step are adjacent. Scales first, zeros head_size further.
constexpr int k_parameter_index(int head_size, int channel) {
  const int step = channel >> 4, r = channel & 15;
  return (((r & 7) >> 1) * (head_size / 16) + step) * 4 + (r >> 3) * 2 + (r & 1);
}
// Sizes that depend on the group, in bytes. A group along channels is never longer than a head.
struct RecordSizes {
  uint32_t word_bytes;  // of K and of V
  uint32_t k_parameter_bytes, v_parameter_bytes;

  constexpr uint32_t k_half_bytes() const { return word_bytes + k_parameter_bytes; }
  constexpr uint32_t v_half_bytes() const { return word_bytes + v_parameter_bytes; }
  constexpr uint32_t bytes() const { return k_half_bytes() + v_half_bytes(); }
};

constexpr RecordSizes record_sizes(uint32_t bits, uint32_t group, uint32_t head_size,
                                   uint32_t k_axis) {
  const uint32_t words = record_tokens * head_size * bits / 8;
  if (bits == 16) return {words, 0, 0};
  const uint32_t per_token = (group < head_size ? head_size / group : 1) * record_tokens * 4;
  const uint32_t per_channel = record_tokens / (group < 128 ? group : 128) * head_size * 4;
  return {words, k_axis == KVP_AXIS_CHANNEL ? per_channel : per_token, per_token};
}

}  // namespace kvproof
