// special.cpp - see special.h. The tables are part of the library (.incbin), not files to be found.
#include "special.h"

#include <cmath>
#include <cstring>

#ifndef MMA_TABLES
#error "MMA_TABLES must be the quoted path of the folder native/mma/tables"
#endif

asm(".pushsection .rodata,\"a\",@progbits\n"
    ".balign 64\n"
    ".globl mma_ex2_table\n.hidden mma_ex2_table\nmma_ex2_table:\n"
    ".incbin \"" MMA_TABLES
    "/ex2_delta2.bin\"\n"
    ".balign 64\n"
    ".globl mma_rcp_table\n.hidden mma_rcp_table\nmma_rcp_table:\n"
    ".incbin \"" MMA_TABLES
    "/rcp_delta2.bin\"\n"
    ".popsection\n");

extern "C" {
extern const uint8_t mma_ex2_table[1 << 21] __attribute__((visibility("hidden")));
extern const uint8_t mma_rcp_table[1 << 21] __attribute__((visibility("hidden")));
}

namespace mma {
namespace {

constexpr uint32_t kEntries = 1u << 23;

template <class To, class From>
To bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// 2^(j/64) in double, correct to half a unit of the last place of the C library's exp2.
struct Steps {
  double value[64];
  Steps() {
    for (int j = 0; j < 64; j++) value[j] = std::exp2(j / 64.0);
  }
};
const Steps steps;

// T[i] of the header times 2, that is ex2(1 + i / 2^23) of the hardware divided by 2: in [1, 2).
float ex2_table(uint32_t i) {
  return bits<float>(bits<uint32_t>(exp2_fraction(i)) + static_cast<uint32_t>(ex2_delta(i)));
}

float power_of_two(int exponent) {
  return bits<float>(static_cast<uint32_t>(exponent + 127) << 23);
}

}  // namespace

int ex2_delta(uint32_t i) { return (mma_ex2_table[i >> 2] >> (2 * (i & 3)) & 3) - 2; }
int rcp_delta(uint32_t i) { return (mma_rcp_table[i >> 2] >> (2 * (i & 3)) & 3) - 2; }

// Steps of 1/64 and a polynomial for the rest: t = r ln 2 is below 0.0109, and t^6/720 is below
// 2^-48.7 of the last term kept, so five terms and the table leave an error below 2^-51. That
// decides every rounding to f32: special_test.cpp checks all 2^23 entries against long double.
float exp2_fraction(uint32_t i) {
  const double t = static_cast<double>(i & 0x1ffff) * (0x1p-23 * 0.69314718055994530942);
  const double p =
      t * (1 + t * (1.0 / 2 + t * (1.0 / 6 + t * (1.0 / 24 + t * (1.0 / 120 + t / 720)))));
  const double step = steps.value[i >> 17];
  return static_cast<float>(step + step * p);
}

float ex2_approx_ftz(float x) {
  if (!(bits<uint32_t>(x) & 0x7f800000u)) return 1.0f;  // zero, and subnormals are flushed
  if (!(x == x)) return bits<float>(0x7fffffffu);
  if (x < -126.0f) return 0.0f;
  if (x >= 128.0f) return __builtin_inff();
  const float magnitude = std::fabs(x);
  const int whole = static_cast<int>(magnitude);
  const auto fraction = static_cast<uint32_t>((magnitude - static_cast<float>(whole)) * 0x1p23f);
  if (x >= 0.0f) return ex2_table(fraction) * power_of_two(whole);
  if (fraction == 0) return power_of_two(-whole);
  // -whole - 1 reaches -127 for x in (-127, -126), which is flushed above.
  return ex2_table(kEntries - 1 - fraction) * power_of_two(-whole - 1);
}

float rcp_approx_ftz(float x) {
  const uint32_t b = bits<uint32_t>(x), sign = b & 0x80000000u;
  const int field = static_cast<int>(b >> 23 & 255);
  if (field == 255) return bits<float>(b & 0x7fffffu ? 0x7fffffffu : sign);
  if (field == 0) return bits<float>(sign | 0x7f800000u);
  const uint32_t fraction = b & 0x7fffffu;
  // 1 / (1 + i / 2^23) in (1/2, 1], correctly rounded, corrected by the table.
  const float rounded = 1.0f / bits<float>(0x3f800000u | fraction);
  const uint32_t reciprocal = bits<uint32_t>(rounded) + static_cast<uint32_t>(rcp_delta(fraction));
  const int exponent = static_cast<int>(reciprocal >> 23) - (field - 127);
  if (exponent <= 0) return bits<float>(sign);
  return bits<float>(sign | static_cast<uint32_t>(exponent) << 23 | (reciprocal & 0x7fffffu));
}

}  // namespace mma
