// tile_slow.cpp - a whole tile by the slow model of fused_sum.h.
//
// It is a file of its own for a reason: with the body in sight of its caller, g++ 12.2 concludes at
// -O1 and above that this function stores nothing and deletes the call (mod/ref analysis; the same
// code is right at -O0). sources.cmake turns that analysis off for this folder as well, and
// tile_test.cpp would see it, since tiles with an Inf or a NaN come this way.
#include <cstring>

#include "convert.h"
#include "fused_sum.h"
#include "tile.h"

namespace mma {

void tile_slow(const Row& row, Tile& t) {
  const bool half = row.accumulator == Accumulator::f16;
  for (int column = 0; column < 8; column++) {
    for (int r = 0; r < 16; r++) {
      uint16_t a[16], b[16];
      for (int k = 0; k < 16; k++) {
        a[k] = static_cast<uint16_t>(t.a[k / 2][r] >> 16 * (k % 2));
        b[k] = static_cast<uint16_t>(t.b[column][k / 2] >> 16 * (k % 2));
      }
      uint32_t c;
      std::memcpy(&c, &t.c[column][r], sizeof c);
      const uint32_t sum = dot(row, a, b, 16, half ? f16_from_f32(c) : c);
      const uint32_t d = half ? f32_from_f16(static_cast<uint16_t>(sum)) : sum;
      std::memcpy(&t.d[column][r], &d, sizeof d);
    }
  }
}

}  // namespace mma
