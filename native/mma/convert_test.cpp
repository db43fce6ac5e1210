// convert_test.cpp - conversions against an independent formula, over all inputs where that is
// quick.
//
// f16 -> f32 is compared with sign * fraction * 2^exponent in double; f32 -> f16 with the search
// for the nearest of the 65,536 f16 values in double, ties to the even pattern, on every f16 value,
// every midpoint and its neighbours, and random patterns.
#include "convert.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"

namespace {

using check::claim;

uint32_t bits_of(float f) {
  uint32_t b;
  std::memcpy(&b, &f, sizeof b);
  return b;
}
float float_of(uint32_t b) {
  float f;
  std::memcpy(&f, &b, sizeof f);
  return f;
}

double half_value(uint32_t h) {
  const int field = static_cast<int>(h >> 10 & 31), fraction = static_cast<int>(h & 1023);
  const double magnitude = field == 31  ? (fraction ? NAN : INFINITY)
                           : field == 0 ? std::ldexp(fraction, -24)
                                        : std::ldexp(1024 + fraction, field - 25);
  return h & 0x8000 ? -magnitude : magnitude;
}

// The f16 pattern nearest to a finite x by bisection over the finite patterns, which are in order.
uint16_t nearest_half(double x) {
  const double m = std::fabs(x);
  uint32_t low = 0, high = 0x7c00;  // value(low) <= m; 0x7c00 stands for 65536
  const auto value = [](uint32_t h) { return h == 0x7c00 ? 65536.0 : half_value(h); };
  if (m >= 65536.0) {
    low = 0x7c00;
  } else {
    while (high - low > 1) {
      const uint32_t middle = (low + high) / 2;
      (value(middle) <= m ? low : high) = middle;
    }
    const double below = m - value(low), above = value(high) - m;
    if (below > above || (below == above && (low & 1))) low = high;
  }
  return static_cast<uint16_t>(low | (std::signbit(x) ? 0x8000 : 0));
}

int wrong_f16(const std::vector<uint32_t>& inputs) {
  int wrong = 0;
  for (uint32_t b : inputs) {
    const float f = float_of(b);
    const uint16_t expected = f != f          ? uint16_t{0x7fff}
                              : std::isinf(f) ? static_cast<uint16_t>(f < 0 ? 0xfc00 : 0x7c00)
                                              : nearest_half(f);
    wrong += mma::f16_from_f32(b) != expected;
  }
  return wrong;
}

void to_f16() {
  std::vector<uint32_t> edges, random;
  for (uint32_t h = 0; h < 0x7c00; h++) {
    const double next = h == 0x7bff ? 65536.0 : half_value(h + 1);
    const uint32_t value = bits_of(static_cast<float>(half_value(h)));
    const uint32_t middle = bits_of(static_cast<float>((half_value(h) + next) / 2));
    for (uint32_t sign : {0u, 0x80000000u}) {
      for (int step = -1; step <= 1; step++) {
        if (value != 0 || step >= 0) edges.push_back((value + static_cast<uint32_t>(step)) | sign);
        edges.push_back((middle + static_cast<uint32_t>(step)) | sign);
      }
    }
  }
  for (uint32_t b : {0x7f800000u, 0xff800000u, 0x7fc00000u, 0xff800001u, 1u, 0x7f7fffffu}) {
    edges.push_back(b);
  }
  check::Random r(11);
  for (int i = 0; i < 400000; i++) {
    const uint32_t b = r.bits();
    random.push_back(i & 1 ? b : (b & 0x87ffffffu) + 0x30000000u);  // half of them near f16's range
  }
  claim(wrong_f16(edges) == 0, "f32 -> f16 at every value, midpoint and neighbour", "%d wrong",
        wrong_f16(edges));
  claim(wrong_f16(random) == 0, "f32 -> f16 on random patterns", "%d wrong", wrong_f16(random));
}

void from_f16() {
  int wrong = 0;
  for (uint32_t h = 0; h < 65536; h++) {
    const double v = half_value(h);
    const uint32_t expected = v != v ? 0x7fffffffu : bits_of(static_cast<float>(v));
    wrong += mma::f32_from_f16(static_cast<uint16_t>(h)) != expected;
  }
  claim(wrong == 0, "f16 -> f32 for all 65,536 patterns", "%d wrong", wrong);
}

void bf16() {
  int wrong = 0, wrong_back = 0;
  check::Random r(12);
  for (int i = 0; i < 400000; i++) {
    uint32_t b = r.bits();
    if (i % 3 == 0) b = (b & 0xffff0000u) | (0x7fff + r.below(3));  // around the tie
    const float f = float_of(b);
    // In double the two neighbours and the distance to each are exact.
    const double low = float_of(b & 0xffff0000u), high = float_of((b & 0xffff0000u) + 0x10000u);
    uint32_t expected = b >> 16;
    const uint32_t rest = b & 0xffffu;
    const bool up = std::isfinite(high)
                        ? std::fabs(f - low) > std::fabs(high - f) ||
                              (std::fabs(f - low) == std::fabs(high - f) && (expected & 1))
                        : rest > 0x8000 || (rest == 0x8000 && (expected & 1));
    if (f != f) {
      expected = 0x7fff;
    } else if (!std::isinf(f) && up) {
      expected++;
    }
    wrong += mma::bf16_from_f32(b) != expected;
  }
  for (uint32_t h = 0; h < 65536; h++) {
    const float f = float_of(h << 16);
    wrong_back += mma::f32_from_bf16(static_cast<uint16_t>(h)) != (f != f ? 0x7fffffffu : h << 16);
  }
  claim(wrong == 0, "f32 -> bf16 takes the nearer neighbour, ties to even", "%d wrong", wrong);
  claim(wrong_back == 0, "bf16 -> f32 for all 65,536 patterns", "%d wrong", wrong_back);
}

}  // namespace

int main() {
  from_f16();
  to_f16();
  bf16();
  return check::finish();
}
