// tile_f16.h - one m16n8k16 tile, f16 operands and f32 accumulator, fast and bit-identical to
// dot().
//
// The emulator runs about a thousand of these for one decode of 512 tokens, so this is where its
// time would go: rows of the tile are the lanes of a vector, and 16, 8 or 4 of them are worked on
// at once (AVX-512, AVX2, any x86-64). Tiles with an Inf or a NaN anywhere, also one that arises
// between two chained groups, are handed to the slow model. Architectures differ in group and
// fraction only.
#pragma once
#include <cstdint>

#include "architecture.h"

namespace mma {

struct alignas(64) TileF16 {
  uint16_t a[16][16];  // (k, row)
  uint16_t b[8][16];   // (column, k)
  float c[8][16];      // (column, row), accumulator before
  float d[8][16];      // (column, row), result
};

enum class Isa { portable, avx2, avx512 };

// The widest that this processor runs.
Isa best_isa();

using TileFunction = void (*)(TileF16&);

// The fast function for an architecture, or null if the table has no f16/f32 row for it.
TileFunction tile_function(uint32_t sm, Isa isa);

// The same by dot(), one output at a time.
void tile_slow(const Row& row, TileF16& tile);

}  // namespace mma
