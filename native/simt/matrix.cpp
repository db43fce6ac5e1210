// matrix.cpp - what the lanes of a warp do with matrices: mma, movmatrix, ldmatrix.
#include <cstring>

#include "../mma/convert.h"
#include "arena.h"
#include "collective.h"
#include "report.h"
#include "runtime.h"
#include "shadow.h"

namespace simt {
namespace {

constexpr Op op_of(Mma kind) {
  return kind == Mma::f16_f32    ? Op::mma_f16_f32
         : kind == Mma::bf16_f32 ? Op::mma_bf16_f32
                                 : Op::mma_f16_f16;
}

// Rows of an 8x8 matrix of halves become columns: lane 4r + c holds elements (r, 2c) and (r, 2c +
// 1).
void transpose(Warp& warp, uint32_t) {
  for (uint32_t lane = 0; lane < kWarpSize; lane++) {
    const uint32_t column = lane >> 2, row = 2 * (lane & 3), shift = 16 * (column & 1);
    const uint32_t low = warp.in[4 * row + (column >> 1)] >> shift & 0xffff;
    const uint32_t high = warp.in[4 * (row + 1) + (column >> 1)] >> shift & 0xffff;
    warp.out[lane] = low | high << 16;
  }
}

// One matrix of ldmatrix: rows of 8 halves at the addresses of eight lanes. Lane 4r + c gets
// elements (r, 2c) and (r, 2c + 1), transposed (2c, r) and (2c + 1, r). PTX ISA, "ldmatrix".
void load_matrix(Warp& warp, int matrix, bool transposed) {
  uint16_t m[8][8];
  for (int row = 0; row < 8; row++) std::memcpy(m[row], warp.row[8 * matrix + row], 16);
  for (uint32_t lane = 0; lane < kWarpSize; lane++) {
    const uint32_t r = lane >> 2, c = 2 * (lane & 3);
    const uint16_t low = transposed ? m[c][r] : m[r][c];
    const uint16_t high = transposed ? m[c + 1][r] : m[r][c + 1];
    warp.fragments[lane][matrix] = low | static_cast<uint32_t>(high) << 16;
  }
}

void load_matrices(Warp& warp, uint32_t) {
  for (int i = 0; i < warp.kind / 2; i++) load_matrix(warp, i, warp.kind % 2);
}

// On the stack of the launch, which rests while fibers run and stays in the first-level cache: the
// last lane is another one each time, and 2 KiB of a stack of its own would not.
template <Mma kind>
void multiply(Warp& warp, uint32_t) {
  const auto run = [](void* tile) {
    machine.tile[static_cast<int>(kind)](*static_cast<mma::Tile*>(tile));
  };
  fiber_call(&warp.tile, run, machine.main_sp);
}

void check_row(const void* row, simt_site at) {
  const auto address = reinterpret_cast<uint64_t>(row);
  if (address & 15) {
    report_fatal("misaligned access", at,
                 format("%s gives ldmatrix a row at %s; it must be a multiple of 16",
                        describe_current().c_str(), describe_address(address).c_str()));
  }
  if (!in_shared(address) || outside_bytes(address, 16) != 0) {
    report_fatal("out of bounds", at,
                 format("%s gives ldmatrix a row at %s; 16 bytes of shared memory are required",
                        describe_current().c_str(), describe_address(address).c_str()));
  }
  if constexpr (kChecked) shadow_read_at(address, 16, at);
}

}  // namespace
}  // namespace simt

using namespace simt;

// PTX ISA, figures "m16n8k16 fragment layout for .f16": lane = 4 g + c holds rows g and g + 8 of A
// and C, k = 2c, 2c + 1 and 8 more, and column g of B. Storage order is that of mma::Tile: tile_a
// is pair c of row g, tile_b pair c of column g, tile_c row g of column 2c.
static_assert(offsetof(mma::Tile, d) == offsetof(mma::Tile, c) + 128 * sizeof(float));
template <Mma kind>
inline __attribute__((always_inline)) void mma_sync(simt_f32x4 c, uint32_t a0, uint32_t a1,
                                                    uint32_t a2, uint32_t a3, uint32_t b0,
                                                    uint32_t b1, simt_site at) {
  {
    const Thread& thread = *current;
    uint32_t *const a = thread.tile_a, *const b = thread.tile_b;
    a[0] = a0;
    a[8] = a1;
    a[64] = a2;
    a[72] = a3;
    b[0] = b0;
    b[4] = b1;
    float* const from = thread.tile_c;
    from[0] = c[0];
    from[16] = c[1];
    from[8] = c[2];
    from[24] = c[3];
  }
  collective<multiply<kind>>(op_of(kind), ~0u, at);
}

void simt_mma_f16_f32(simt_f32x4 c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                      uint32_t b1, simt_site at) {
  mma_sync<Mma::f16_f32>(c, a0, a1, a2, a3, b0, b1, at);
}

void simt_mma_bf16_f32(simt_f32x4 c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                       uint32_t b0, uint32_t b1, simt_site at) {
  mma_sync<Mma::bf16_f32>(c, a0, a1, a2, a3, b0, b1, at);
}

simt_f32x4 simt_mma_result() {
  const float* const d = current->tile_c + 128;  // Tile::d follows Tile::c
  return simt_f32x4{d[0], d[16], d[8], d[24]};
}

void simt_mma_f16_f16(uint64_t c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                      uint32_t b1, simt_site at) {
  simt_f32x4 wide;
  for (int i = 0; i < 4; i++) {
    const auto half = static_cast<uint16_t>(c >> 16 * i);
    wide[i] = __builtin_bit_cast(float, mma::f32_from_f16(half));
  }
  mma_sync<Mma::f16_f16>(wide, a0, a1, a2, a3, b0, b1, at);
}

uint64_t simt_mma_f16_result() {
  const simt_f32x4 wide = simt_mma_result();
  uint64_t d = 0;
  for (int i = 0; i < 4; i++) {
    d |= static_cast<uint64_t>(mma::f16_from_f32(__builtin_bit_cast(uint32_t, wide[i]))) << 16 * i;
  }
  return d;
}

void simt_movmatrix_trans(uint32_t x, simt_site at) {
  current->warp->in[current->lane] = x;
  collective<transpose>(Op::movmatrix, ~0u, at);
}

void simt_ldmatrix(int matrices, bool transposed, const void* row, simt_site at) {
  // Lanes beyond the last row give an address that is not used.
  if (static_cast<int>(current->lane) < 8 * matrices) check_row(row, at);
  Warp& warp = *current->warp;
  warp.row[current->lane] = static_cast<const char*>(row);
  warp.kind = 2 * matrices + transposed;
  collective<load_matrices>(Op::ldmatrix, ~0u, at);
}

simt_u32x4 simt_ldmatrix_result() { return current->warp->fragments[current->lane]; }
