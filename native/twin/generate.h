// generate.h - the tensors of a case from their recipes, bit for bit those of
// properties/distributions.ts and properties/generator.ts: a value is a function of its own
// coordinates, so that every element is an index of its own.
#pragma once
#include "shape.h"
#include "twin_abi.h"

namespace kvproof_reference {

struct Key {
  uint32_t a, b;
};

constexpr uint32_t golden = 0x9e3779b9u, mix_1 = 0x85ebca6bu, mix_2 = 0xc2b2ae35u;

TWIN_FN uint32_t mix(uint32_t h) {
  h = (h ^ (h >> 16)) * mix_1;
  h = (h ^ (h >> 13)) * mix_2;
  return h ^ (h >> 16);
}
TWIN_FN Key derive(Key key, uint32_t coordinate) {
  const uint32_t step = (coordinate + 1) * golden;
  return {mix(key.a ^ step), mix(key.b * mix_2 + step)};
}
TWIN_FN Key key_of(uint32_t seed, uint32_t stream) {
  return derive({mix(seed ^ golden), mix(seed + mix_1)}, stream);
}
TWIN_FN uint32_t word(Key key, uint32_t index) {
  return mix(mix((index * golden) ^ key.a) + key.b);
}
TWIN_FN double uniform(Key key, uint32_t index) {
  return (static_cast<double>(word(key, index)) - 0x1p31) / 0x1p31;
}
TWIN_FN uint32_t below(Key key, uint32_t index, uint64_t count) {
  return static_cast<uint32_t>((word(key, index) * count) >> 32);
}
TWIN_FN double normal(Key key, uint32_t index) {
  const uint32_t x = word(key, 2 * index), y = word(key, 2 * index + 1);
  const double sum = (x & 0xffff) + (x >> 16) + (y & 0xffff) + (y >> 16);
  return (sum - 131070) / 37837;
}

// One element of one tensor.
struct Element {
  Key key;  // of the recipe's seed within its tensor
  uint32_t request, head, position, channel;
  uint64_t tokens;  // positions of the request
  uint32_t code_max;
  bool along_tokens;  // groups run along tokens
};

constexpr uint32_t generator_block = 32;

TWIN_FN Key row_key(const Element& e) {
  return derive(derive(derive(e.key, e.request), e.head), e.position);
}
TWIN_FN Key head_key(const Element& e) { return derive(derive(e.key, 0x68656164), e.head); }
TWIN_FN Key block_key(const Element& e) {
  const Key band = derive(derive(derive(e.key, e.request), e.head), 0x62616e64);
  return derive(derive(band, e.position / generator_block), e.channel / generator_block);
}
TWIN_FN double sign_of(Key key, uint32_t index) { return word(key, index) & 1 ? 1 : -1; }
TWIN_FN uint32_t along_group(const Element& e) { return e.along_tokens ? e.position : e.channel; }

TWIN_FN double levels(const Element& e, uint32_t last, double unit) {
  const uint32_t place = along_group(e) % generator_block;
  if (place < 2) return place * static_cast<double>(last) * unit;
  return below(row_key(e), e.channel, uint64_t{last} + 1) * unit;
}

TWIN_FN double uneven_ties(const Element& e) {
  constexpr uint32_t exact_max = 2048, uneven = 0x756e6576;
  const uint32_t last = 2 * e.code_max, steps = (exact_max / last + 1) / 2;
  const uint32_t step = 2 * below(head_key(e), uneven, steps > 1 ? steps : 1) + 1;
  return levels(e, last, step / 2.0);
}

TWIN_FN bool is_chosen(const Element& e, uint32_t name) {
  const Key place = derive(derive(e.key, e.request), name + e.head);
  return ((word(place, 0) * e.tokens) >> 32) == e.position;
}

TWIN_FN double stand_out(const Element& e, bool large) {
  return large ? 16 * sign_of(head_key(e), e.channel) : normal(row_key(e), e.channel);
}

TWIN_FN double patchwork(const Element& e) {
  const Key block = block_key(e);
  const double n = normal(row_key(e), e.channel);
  const uint32_t in_block =
      e.position % generator_block * generator_block + e.channel % generator_block;
  switch (word(block, 0) & 7) {
    case 0:
      return 0;
    case 1:
      return normal(block, 1);
    case 2:
      return n * 64;
    case 3:
      return n / 256;
    case 4:
      return 64 + n / 16;
    case 5:
      return below(block, 4, generator_block * generator_block) == in_block
                 ? 256 * sign_of(block, 5)
                 : n / 64;
    default:
      return n;
  }
}

TWIN_FN double outlier_group(const Element& e) {
  const uint32_t place = along_group(e);
  const Key block = block_key(e);
  if ((place / generator_block) & 1) return static_cast<double>(below(block, 0, 17)) - 8;
  const uint32_t across = (e.along_tokens ? e.channel : e.position) % generator_block;
  const uint32_t outlier = below(derive(block, across), 1, generator_block);
  return outlier == place % generator_block ? 1024 * sign_of(block, 2 + across)
                                            : normal(row_key(e), e.channel) / 16;
}

TWIN_FN double any_exponent(uint32_t w) {
  const double value =
      power_of_two(static_cast<int>((w >> 1) % 40) - 24) * (1 + (w >> 22) / 1024.0);
  return w & 1 ? value : -value;
}

TWIN_FN double extreme(const Element& e, uint32_t w) {
  const uint32_t large = word(block_key(e), 0) & 1;
  if (large) return (w & 1 ? 1.0 : -1.0) * (32768 + 32 * (w >> 22));
  return (static_cast<double>(below(row_key(e), e.channel, 2047)) - 1023) / 16777216;
}

TWIN_FN uint32_t binade_of(const Element& e, Key head, uint32_t reach) {
  const uint32_t kind = word(head, 1) & 7, others = word(head, 1) & 8 ? 15 : 127;
  const Key line = kind & 1 ? derive(head, e.request + 2) : head;
  const uint32_t place = kind & 1 ? e.position : e.channel;
  switch (kind) {
    case 0:
    case 1:
      return below(line, 2 + place, reach);
    case 2:
      return below(block_key(e), 6, reach);
    case 3:
      return reach - 1 - (e.position >> 1) % reach;
    case 5: {
      const uint32_t steps = (e.position >> 6) % reach;
      return word(head, 1) & 16 ? reach - 1 - steps : steps;
    }
    default:
      return (word(line, 2 + place) & others) == 0 ? reach - 1 : 0;
  }
}

TWIN_FN double binades(const Element& e) {
  const Key head = derive(head_key(e), 0x62696e61);
  const uint32_t kind = word(head, 0) & 3;
  const uint32_t reach = 6 * (kind + 1);
  const int power = static_cast<int>(binade_of(e, head, reach)) - static_cast<int>(reach / 2);
  return normal(row_key(e), e.channel) * power_of_two(power);
}

TWIN_FN double non_finite_of(uint32_t kind) {
  return kind == 0 ? quiet_nan() : kind == 1 ? infinity() : -infinity();
}

TWIN_FN double non_finite_last(const Element& e) {
  const Key head = derive(derive(derive(e.key, e.request), e.head), 0x6c617374);
  const uint32_t w = word(head, 0);
  const bool is_last = uint64_t{e.position} + 1 + (w & 3) >= e.tokens;
  const bool is_hit = is_last && ((w & 4) == 0 || (word(head, 1 + e.channel) & 15) == 0);
  return is_hit ? non_finite_of((w >> 3) % 3) : normal(row_key(e), e.channel);
}

TWIN_FN double non_finite(const Element& e) {
  const uint32_t w = word(row_key(e), 0x10000 + e.channel);
  if ((w & 1023) != 0) return normal(row_key(e), e.channel);
  return non_finite_of((w >> 10) % 3);
}

TWIN_FN double non_finite_group(const Element& e) {
  const Key head = derive(derive(derive(e.key, e.request), e.head), 0x72756e73);
  const uint32_t kind = word(head, 0), others = kind & 1 ? 511 : 15;
  const bool along_tokens = e.along_tokens != ((kind & 6) == 0);
  const Key line = derive(head, along_tokens ? e.channel : e.position);
  const uint32_t run = generator_block << (word(line, 0) & 3);
  const uint32_t w = word(line, 1 + (along_tokens ? e.position : e.channel) / run);
  if ((w & others) != 0) return normal(row_key(e), e.channel);
  switch ((w >> 10) & 3) {
    case 0:
      return quiet_nan();
    case 1:
      return infinity();
    case 2:
      return -infinity();
    default:
      return word(row_key(e), e.channel) & 1 ? -infinity() : infinity();
  }
}

TWIN_FN double one_sided(const Element& e) {
  constexpr uint32_t place = 0x20000;
  const Key key = row_key(e);
  const uint32_t kind = word(key, place);
  const double n = normal(key, e.channel), size = (n < 0 ? -n : n) + 1.0 / 64;
  const double value = kind & 8 ? size : -size;
  const bool is_other = kind & 4 ? (word(key, place + 1 + (e.channel >> 4)) & 3) == 0
                                 : (word(key, place + 1 + e.channel) & 63) == 0;
  if (!is_other) return value;
  switch (kind & 3) {
    case 0:
      return -value;
    case 1:
      return 0;
    case 2:
      return -value / 4096;
    default:
      return value / 4096;
  }
}

TWIN_FN bool is_pairs_second(const Element& e) { return (e.position / record_tokens) & 1; }
// e at the token of the record before, if it lies in the second record of a pair.
TWIN_FN Element pairs_first(Element e) {
  if (is_pairs_second(e)) e.position -= record_tokens;
  return e;
}
TWIN_FN double paired_record(Element e) {
  e.position -= e.position % (2 * record_tokens);
  return normal(row_key(e), e.channel);
}
TWIN_FN double opposite_record(const Element& e) {
  const double x = levels(pairs_first(e), e.code_max, 1) - e.code_max / 2.0;
  return is_pairs_second(e) ? -x : x;
}

TWIN_FN uint32_t grade_of(const Element& e) {
  const Key head = derive(derive(Key{0x67726164, 0x65730000}, e.request), e.head);
  const uint32_t kind = word(head, 0) & 3, step = (e.position >> 4) & 3;
  if (kind < 2) return word(head, 1 + e.position) & 3;
  return kind == 2 ? step : 3 - step;
}

// Distributions in which tokens belong together.
TWIN_FN double drawn_by_token(uint32_t distribution, const Element& e) {
  switch (distribution) {
    case 28:
      return paired_record(e);
    case 29:
      return opposite_record(e);
    case 30:
      return grade_of(e);
    case 31: {
      const int bits = 8 * static_cast<int>(grade_of(e));
      return normal(row_key(e), e.channel) * power_of_two(-bits);
    }
    default:
      return 0;
  }
}

// x in units, by the number of the distribution in fuzz/kernels/native-reference.ts.
TWIN_FN double drawn(uint32_t distribution, const Element& e) {
  const Key key = row_key(e);
  const uint32_t channel = e.channel, w = word(key, channel);
  switch (distribution) {
    case 1:
      return 1;
    case 2:
      return (e.position + channel) & 1 ? -1 : 1;
    case 3:
      return e.head + 1.0;
    case 4:
      return channel / 16.0;
    case 5:
      return e.position / 64.0;
    case 6:
      return normal(head_key(e), channel);
    case 7:
      return uniform(key, channel);
    case 8:
      return normal(key, channel);
    case 9:
      return levels(e, e.code_max, 1);
    case 10:
      return levels(e, 2 * e.code_max, 0.5);
    case 11:
      return (static_cast<double>(below(key, channel, 2047)) - 1023) / 16777216;
    case 12:
      return (w & 1 ? 1.0 : -1.0) * (32768 + 32 * (w >> 22));
    case 13: {
      const double n = normal(key, channel);
      return n * n * n;
    }
    case 14:
      return any_exponent(w);
    case 15:
      return sign_of(key, channel) / 2199023255552.0;
    case 16: {
      const double n = normal(key, channel);
      return (word(head_key(e), channel) & 15) == 0 ? 32 * (n + 2) : n;
    }
    case 17:
      return stand_out(e, e.position == 0);
    case 18:
      return stand_out(e, is_chosen(e, 0x6e64));
    case 19:
      return normal(key, channel) * (is_chosen(e, 0x68746f6b) ? 2048 : 1);
    case 20:
      return outlier_group(e);
    case 21:
      return extreme(e, w);
    case 22:
      return patchwork(e);
    case 23:
      return non_finite(e);
    case 24:
      return uneven_ties(e);
    case 25:
      return non_finite_group(e);
    case 26:
      return binades(e);
    case 27:
      return non_finite_last(e);
    case 32:
      return one_sided(e);
    default:
      return drawn_by_token(distribution, e);
  }
}

enum class Tensor : uint32_t { q = 1, k = 2, v = 3 };  // streams of the generator

// Words of one tensor, dense: q (requests, query_tokens, query_heads, head_size), k and v (sum of
// tokens, kv_heads, head_size). Requests that share pages have request 0's tokens there.
inline void generate(Stream stream, const Shape& s, Tensor tensor, const kvp_recipe& recipe,
                     uint16_t* words) {
  const bool is_q = tensor == Tensor::q;
  const int64_t heads = is_q ? s.query_heads : s.kv_heads;
  const int64_t positions = is_q ? s.requests * s.query_tokens : s.tokens_total;
  const uint32_t distribution = recipe.distribution, seed = recipe.seed;
  const int exponent = recipe.scale;
  const double offset = recipe.offset;
  const bool along_tokens = tensor == Tensor::k && !s.per_token;
  for_each(
      stream, static_cast<uint64_t>(positions * heads * s.head_size), TWIN_LOOP(uint64_t i) {
        const int64_t d = static_cast<int64_t>(i) % s.head_size,
                      line = static_cast<int64_t>(i) / s.head_size;
        const int64_t token = line / heads;
        int64_t request = is_q ? token / s.query_tokens : request_at(s, s.first_token, token);
        const int64_t position = is_q ? token % s.query_tokens : token - s.first_token[request];
        if (!is_q && position < s.shared[request]) request = 0;
        Element e;
        e.key = key_of(seed, static_cast<uint32_t>(tensor));
        e.request = static_cast<uint32_t>(request);
        e.head = static_cast<uint32_t>(line % heads);
        e.position = static_cast<uint32_t>(position);
        e.channel = static_cast<uint32_t>(d);
        e.tokens = static_cast<uint64_t>(is_q ? s.query_tokens : s.tokens[request]);
        e.code_max = static_cast<uint32_t>(s.code_max);
        e.along_tokens = along_tokens;
        double value = power_of_two(exponent) * (offset + drawn(distribution, e));
        const double most = s.bf16 ? 65280 : 65504;
        if (is_finite(value) && magnitude_of(value) > most) value = value < 0 ? -most : most;
        words[i] = distribution == 0 ? uint16_t{0} : element_from(s.bf16, value);
      });
}

}  // namespace kvproof_reference
