// cache.h - records and windows of a kernel's cache as codes, parameters and rows (the layout of
// reference/pack.ts), and the codes that the format makes of the inputs (reference/quantize.ts).
#pragma once
#include "shape.h"

namespace kvproof_reference {

// What a kernel wrote, read as the reference reads it. In the order of requests and tokens,
// whatever pages they lie in.
struct Cache {
  const uint8_t* bytes;                 // (pages, kv_heads, record bytes)
  const uint16_t *k_window, *v_window;  // (requests, 128, kv_heads, head_size)
  uint8_t *k_codes, *v_codes;           // (records * 128, kv_heads, head_size)
  uint16_t *k_scales, *k_zeros;         // per channel (records, token_groups, kv_heads,
                                        // head_size); per token as V's
  uint16_t *v_scales, *v_zeros;         // (records * 128, kv_heads, channel_groups)
};

// Byte and bit of the code of (row, column) in a stage with `columns` columns.
struct CodePlace {
  int64_t byte, shift;
};

TWIN_FN CodePlace code_place(int64_t bits, int64_t columns, int64_t row, int64_t column) {
  const int64_t words = columns / 16 * bits / 4, unit = smaller(4, words), step = column >> 4;
  const int64_t lane = (row & 7) * 4 + ((column & 7) >> 1);
  const int64_t a_row = (row >> 3) & 1, a_column = (column >> 3) & 1;
  int64_t bit = a_row * 8 + (column & 1) * 16, word = step;
  if (bits == 8)
    word = 2 * step + a_column;
  else if (bits == 4)
    bit += a_column * 4;
  else {
    word = step >> 1;
    bit += (step & 1) * 4 + a_column * 2;
  }
  const int64_t run = (row >> 4) * (words / unit) + word / unit;
  const int64_t index = (run * 32 + lane) * unit + word % unit;
  return {index * 4 + (bit >> 3), bit & 7};
}

constexpr int64_t record_bytes(const Shape& s) { return s.k_bytes + s.v_bytes; }

TWIN_FN const uint8_t* record_at(const Shape& s, const Cache& c, int64_t record, int64_t head) {
  return c.bytes + (s.page_of[record] * s.kv_heads + head) * record_bytes(s);
}

TWIN_FN uint16_t word_at(const uint8_t* bytes, int64_t word) {
  return static_cast<uint16_t>(bytes[2 * word] | (bytes[2 * word + 1] << 8));
}

// Place of the scale of a channel, in words from the start of its group's parameters.
TWIN_FN int64_t channel_parameter(const Shape& s, int64_t d) {
  const int64_t r = d & 15, line = ((r & 7) >> 1) * (s.head_size / 16) + (d >> 4);
  return line * 4 + (r >> 3) * 2 + (r & 1);
}

inline void unpack(Stream stream, const Shape& s, const Cache& c) {
  if (s.plain) return;
  const int64_t lines = s.records * record_tokens * s.kv_heads;
  for_each(
      stream, static_cast<uint64_t>(lines * s.head_size), TWIN_LOOP(uint64_t i) {
        const int64_t d = static_cast<int64_t>(i) % s.head_size,
                      line = static_cast<int64_t>(i) / s.head_size;
        const int64_t head = line % s.kv_heads, t = line / s.kv_heads;
        const uint8_t* record = record_at(s, c, t / record_tokens, head);
        const int64_t token = t % record_tokens, mask = s.code_max;
        const CodePlace k = code_place(s.bits, s.head_size, token, d);
        const CodePlace v = code_place(s.bits, record_tokens, d, token);
        c.k_codes[i] = static_cast<uint8_t>((record[k.byte] >> k.shift) & mask);
        c.v_codes[i] = static_cast<uint8_t>((record[s.k_bytes + v.byte] >> v.shift) & mask);
      });
  for_each(
      stream, static_cast<uint64_t>(lines * s.channel_groups), TWIN_LOOP(uint64_t i) {
        const int64_t g = static_cast<int64_t>(i) % s.channel_groups;
        const int64_t line = static_cast<int64_t>(i) / s.channel_groups;
        const int64_t head = line % s.kv_heads, t = line / s.kv_heads;
        const uint8_t* record = record_at(s, c, t / record_tokens, head) + s.word_bytes;
        const int64_t at = 2 * (record_tokens * g + t % record_tokens);
        c.v_scales[i] = word_at(record + s.k_bytes, at);
        c.v_zeros[i] = word_at(record + s.k_bytes, at + 1);
        if (!s.per_token) return;
        c.k_scales[i] = word_at(record, at);
        c.k_zeros[i] = word_at(record, at + 1);
      });
  if (s.per_token) return;
  const int64_t groups = s.records * s.token_groups * s.kv_heads;
  for_each(
      stream, static_cast<uint64_t>(groups * s.head_size), TWIN_LOOP(uint64_t i) {
        const int64_t d = static_cast<int64_t>(i) % s.head_size,
                      line = static_cast<int64_t>(i) / s.head_size;
        const int64_t head = line % s.kv_heads, group = line / s.kv_heads;
        const uint8_t* record = record_at(s, c, group / s.token_groups, head) + s.word_bytes;
        const int64_t at = 2 * s.head_size * (group % s.token_groups) + channel_parameter(s, d);
        c.k_scales[i] = word_at(record, at);
        c.k_zeros[i] = word_at(record, at + s.head_size);
      });
}

// ---- places in the arrays of Cache ----

TWIN_FN int64_t code_line(const Shape& s, const Row& r, int64_t token) {
  return (s.first_record[r.request] * record_tokens + token) * s.kv_heads + r.kv_head;
}
// Of a channel's parameters, for the group that a token lies in.
TWIN_FN int64_t channel_line(const Shape& s, const Row& r, int64_t token) {
  return (s.first_record[r.request] * s.token_groups + token / s.group) * s.kv_heads + r.kv_head;
}

// A word of a token that is not packed.
TWIN_FN uint16_t tail_word(const Shape& s, const Cache& c, const Row& r, bool is_v, int64_t token,
                           int64_t d) {
  const int64_t recorded = r.tokens / record_tokens * record_tokens;
  if (token >= recorded) {
    const int64_t line = (r.request * record_tokens + token - recorded) * s.kv_heads + r.kv_head;
    return (is_v ? c.v_window : c.k_window)[line * s.head_size + d];
  }
  const uint8_t* record =
      record_at(s, c, s.first_record[r.request] + token / record_tokens, r.kv_head);
  return word_at(record + (is_v ? s.k_bytes : 0), token % record_tokens * s.head_size + d);
}

// ---- codes that the format requires ----

TWIN_FN bool same_parameter(uint16_t a, uint16_t b) {
  if (a == b) return true;
  const double x = f16_value(a), y = f16_value(b);
  return x == y || (is_nan(x) && is_nan(y));
}

// Counts what differs in one group of `count` elements that are `stride` apart in both arrays.
TWIN_FN uint64_t wrong_in_group(const Shape& s, const uint16_t* words, const uint8_t* codes,
                                int64_t stride, int64_t count, uint16_t scale, uint16_t zero) {
  double most = -infinity(), least = infinity();
  for (int64_t i = 0; i < count; i++) {
    const double x = element_value(s.bf16, words[i * stride]);
    if (x > most) most = x;
    if (x < least || (x == 0 && least == 0 && (bits_of(x) >> 63) != 0)) least = x;
  }
  const double range = round32(most - least);
  const double levels = static_cast<double>(s.code_max);
  const double inverse = range > 0 ? round32(levels / range) : 0;
  uint64_t wrong = 0;
  for (int64_t i = 0; i < count; i++) {
    const double x = element_value(s.bf16, words[i * stride]);
    const double y = round32(round32(x - least) * inverse);
    const double code = y > 0 ? floor(y + 0.5) : 0;
    wrong += static_cast<double>(codes[i * stride]) != (code < levels ? code : levels);
  }
  const uint16_t required = inverse == 0 ? uint16_t{0} : element_from(false, round32(1 / inverse));
  return wrong + !same_parameter(scale, required) +
         !same_parameter(zero, element_from(false, least));
}

// k, v: the inputs, dense (sum of tokens, kv_heads, head_size). Adds what differs to *wrong.
inline void check_codes(Stream stream, const Shape& s, const Cache& c, const uint16_t* k,
                        const uint16_t* v, uint64_t* wrong) {
  const int64_t lines = s.records * record_tokens * s.kv_heads;
  for_each(
      stream, static_cast<uint64_t>(s.plain ? 0 : lines * s.channel_groups), TWIN_LOOP(uint64_t i) {
        const int64_t g = static_cast<int64_t>(i) % s.channel_groups;
        const int64_t line = static_cast<int64_t>(i) / s.channel_groups;
        const int64_t head = line % s.kv_heads, t = line / s.kv_heads;
        const int64_t request = request_at(s, s.first_record, t / record_tokens);
        const int64_t token = s.first_token[request] + t - s.first_record[request] * record_tokens;
        const int64_t from = (token * s.kv_heads + head) * s.head_size + g * s.channel_group;
        const int64_t at = line * s.head_size + g * s.channel_group;
        uint64_t found = wrong_in_group(s, v + from, c.v_codes + at, 1, s.channel_group,
                                        c.v_scales[i], c.v_zeros[i]);
        if (s.per_token) {
          found += wrong_in_group(s, k + from, c.k_codes + at, 1, s.channel_group, c.k_scales[i],
                                  c.k_zeros[i]);
        }
        add_into(wrong, found);
      });
  const bool by_channel = !s.plain && !s.per_token;
  const int64_t groups = by_channel ? s.records * s.token_groups * s.kv_heads * s.head_size : 0;
  for_each(
      stream, static_cast<uint64_t>(groups), TWIN_LOOP(uint64_t i) {
        const int64_t d = static_cast<int64_t>(i) % s.head_size,
                      line = static_cast<int64_t>(i) / s.head_size;
        const int64_t head = line % s.kv_heads, t = line / s.kv_heads * s.group;
        const int64_t request = request_at(s, s.first_record, t / record_tokens);
        const int64_t token = s.first_token[request] + t - s.first_record[request] * record_tokens;
        const int64_t stride = s.kv_heads * s.head_size;
        add_into(wrong, wrong_in_group(s, k + (token * s.kv_heads + head) * s.head_size + d,
                                       c.k_codes + (t * s.kv_heads + head) * s.head_size + d,
                                       stride, s.group, c.k_scales[i], c.k_zeros[i]));
      });
}

// Words that are kept as they came: the windows, and the records of plain rows.
inline void check_words(Stream stream, const Shape& s, const Cache& c, const uint16_t* k,
                        const uint16_t* v, uint64_t* wrong) {
  for_each(
      stream, static_cast<uint64_t>(s.tokens_total * s.kv_heads * s.head_size),
      TWIN_LOOP(uint64_t i) {
        const int64_t d = static_cast<int64_t>(i) % s.head_size,
                      line = static_cast<int64_t>(i) / s.head_size;
        const int64_t t = line / s.kv_heads, request = request_at(s, s.first_token, t);
        Row r;
        r.request = request;
        r.kv_head = line % s.kv_heads;
        r.tokens = s.tokens[request];
        const int64_t token = t - s.first_token[request];
        if (!s.plain && token < r.tokens / record_tokens * record_tokens) return;
        add_into(wrong, uint64_t{tail_word(s, c, r, false, token, d) != k[i]} +
                            uint64_t{tail_word(s, c, r, true, token, d) != v[i]});
      });
}

}  // namespace kvproof_reference
