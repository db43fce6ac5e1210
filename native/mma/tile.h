// tile.h - one m16n8k16 tile of mma.sync, fast and identical to dot() in every bit.
//
// The emulator runs about a thousand of these for one decode of 512 tokens, so this is where its
// time would go: rows of the tile are the lanes of a vector, and 16, 8 or 4 of them are worked on
// at once (AVX-512, AVX2, any x86-64). Tiles that hold an Inf or a NaN anywhere, also one that
// arises between two chained groups, and bf16 tiles with sums near the ends of the range of f32
// (below 2^-100, above 2^121) are handed to the slow model. Architectures differ in group, fraction
// and exponent floor only.
#pragma once
#include <cstdint>

#include "architecture.h"

namespace mma {

// Operands are pairs of 16-bit numbers, k = 2 pair in the low half and 2 pair + 1 in the high one,
// as the registers of mma.sync hold them: a lane stores a register with one instruction. An f16
// accumulator is held as the f32 of the same value (any NaN for the NaN).
struct alignas(64) Tile {
  uint32_t a[8][16];  // (pair, row)
  uint32_t b[8][8];   // (column, pair)
  float c[8][16];     // (column, row), accumulator before
  float d[8][16];     // (column, row), result
};

enum class Isa { portable, avx2, avx512 };

// The widest that this processor runs.
Isa best_isa();

using TileFunction = void (*)(Tile&);

// The fast function for an instruction, or null if the table has no row for it.
TileFunction tile_function(uint32_t sm, Operand operand, Accumulator accumulator, Isa isa);

// The same by dot(), one output at a time.
void tile_slow(const Row& row, Tile& tile);

}  // namespace mma
