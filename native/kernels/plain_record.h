// plain_record.h - where a code and its parameters lie in a record, by formulas of their own, from
// bits, head size and group at run time: what the plain kernels read and write, one element after
// another (record.h has the layout that the fast ones are compiled for).
#pragma once
#include "numerics.h"
#include "requests.h"

namespace kvproof {

struct PlainPlace {
  int word, bit;    // of the code: 32-bit word of the half, lowest bit in it
  int scale, zero;  // 16-bit words behind the codes of the half
};

DEV_FN PlainPlace plain_place(const CacheArguments& args, uint32_t bits, bool is_v, int token,
                              int channel) {
  const int channels = static_cast<int>(args.head_size), group = static_cast<int>(args.group);
  const int row = is_v ? channel : token, column = is_v ? token : channel;
  const int step = column / 16, upper = column % 16 / 8;
  PlainPlace place;
  int word = step, field = upper * 4;  // 4 bits
  if (bits == 2) {
    word = step / 2;
    field = step % 2 * 4 + upper * 2;
  } else if (bits == 8) {
    word = step * 2 + upper;
    field = 0;
  }
  place.bit = field + row % 16 / 8 * 8 + column % 2 * 16;
  const int lane_words = (is_v ? record_tokens : channels) / 16 * static_cast<int>(bits) / 4;
  const int unit = lane_words < 4 ? lane_words : 4, lane = row % 8 * 4 + column % 8 / 2;
  place.word = ((row / 16 * (lane_words / unit) + word / unit) * 32 + lane) * unit + word % unit;
  if (is_v || args.k_per_token) {
    place.scale = (channel / group * record_tokens + token) * 2;
    place.zero = place.scale + 1;
  } else {
    const int r = channel % 16;
    place.scale = token / group * channels * 2 + (r % 8 / 2 * (channels / 16) + channel / 16) * 4 +
                  r / 8 * 2 + r % 2;
    place.zero = place.scale + channels;
  }
  return place;
}

DEV_FN float plain_number(uint16_t word, bool is_bf16) {
  return is_bf16 ? dev::f32_from_bf16(word) : dev::f32_from_f16(word);
}

// K or V of a packed record: code scale + zero to odd, of which one rounding to fp16 or bf16 is
// left. half: of the record.
DEV_FN float plain_element(const CacheArguments& args, uint32_t bits, const uint8_t* half,
                           bool is_v, int token, int channel) {
  if (bits == 16) {
    const uint16_t* numbers = reinterpret_cast<const uint16_t*>(half);
    return plain_number(numbers[token * static_cast<int>(args.head_size) + channel], args.is_bf16);
  }
  const uint16_t* parameters = reinterpret_cast<const uint16_t*>(half + args.record.word_bytes);
  const PlainPlace at = plain_place(args, bits, is_v, token, channel);
  const uint32_t word = reinterpret_cast<const uint32_t*>(half)[at.word];
  const float code = static_cast<float>(word >> at.bit & ((1u << bits) - 1));
  return add_to_odd(dev::mul_rn(code, dev::f32_from_f16(parameters[at.scale])),
                    dev::f32_from_f16(parameters[at.zero]));
}

}  // namespace kvproof
