// tile_slow.cpp - a whole tile by the slow model of fused_sum.h.
//
// It is a file of its own for a reason: with the body in sight of its caller, g++ 12.2 concludes at
// -O1 and above that this function stores nothing and deletes the call (mod/ref analysis; the same
// code is right at -O0). sources.cmake turns that analysis off for this folder as well, and
// tile_f16_test.cpp would see it, since tiles with an Inf or a NaN come this way.
#include <cstring>

#include "fused_sum.h"
#include "tile_f16.h"

namespace mma {

void tile_slow(const Row& row, TileF16& t) {
  for (int column = 0; column < 8; column++) {
    for (int r = 0; r < 16; r++) {
      uint16_t a[16];
      for (int k = 0; k < 16; k++) a[k] = t.a[k][r];
      uint32_t c;
      std::memcpy(&c, &t.c[column][r], sizeof c);
      const uint32_t d = dot(row, a, t.b[column], 16, c);
      std::memcpy(&t.d[column][r], &d, sizeof d);
    }
  }
}

}  // namespace mma
