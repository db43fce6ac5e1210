// tile_f16.cpp - the instances of tile_f16_body.h for three instruction sets and two architectures.
#include "tile_f16.h"

#include "tile_f16_body.h"

namespace mma {
namespace {

#define MMA_AVX512 __attribute__((target("arch=x86-64-v4,prefer-vector-width=512")))
#define MMA_AVX2 __attribute__((target("arch=x86-64-v3")))

MMA_AVX512 int sm90_avx512(TileF16& t) { return tile_body<16, 16, 25>(t); }
MMA_AVX2 int sm90_avx2(TileF16& t) { return tile_body<8, 16, 25>(t); }
int sm90_portable(TileF16& t) { return tile_body<4, 16, 25>(t); }

MMA_AVX512 int sm80_avx512(TileF16& t) { return tile_body<16, 8, 24>(t); }
MMA_AVX2 int sm80_avx2(TileF16& t) { return tile_body<8, 8, 24>(t); }
int sm80_portable(TileF16& t) { return tile_body<4, 8, 24>(t); }

template <uint32_t sm, int (*fast)(TileF16&)>
void tile(TileF16& t) {
  if (__builtin_expect(fast(t), 0)) {
    tile_slow(*find_row(sm, Operand::f16, Accumulator::f32), t);
  }
}

}  // namespace

Isa best_isa() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512cd")) {
    return Isa::avx512;
  }
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                 __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c")
             ? Isa::avx2
             : Isa::portable;
}

TileFunction tile_function(uint32_t sm, Isa isa) {
  const Row* row = find_row(sm, Operand::f16, Accumulator::f32);
  if (row == nullptr) return nullptr;
  if (row->group == 16 && row->fraction == 25) {
    if (isa == Isa::avx512) return tile<90, sm90_avx512>;
    return isa == Isa::avx2 ? tile<90, sm90_avx2> : tile<90, sm90_portable>;
  }
  if (row->group == 8 && row->fraction == 24) {
    if (isa == Isa::avx512) return tile<80, sm80_avx512>;
    return isa == Isa::avx2 ? tile<80, sm80_avx2> : tile<80, sm80_portable>;
  }
  return nullptr;
}

}  // namespace mma
