// tile.cpp - the instances of tile_body.h for three instruction sets and the rows of
// architecture.cpp, and the choice among them.
#include "tile.h"

#include <xmmintrin.h>

#include "tile_body.h"

namespace mma {
namespace {

// Not inlined: the compiler knows nothing of rounding modes, and could move arithmetic over the
// change of one.
#define MMA_AVX512 __attribute__((noinline, target("arch=x86-64-v4,prefer-vector-width=512")))
#define MMA_AVX2 __attribute__((noinline, target("arch=x86-64-v3")))
#define MMA_ANY __attribute__((noinline))

template <class M>
MMA_AVX512 int on_avx512(Tile& t) {
  return tile_body<16, M>(t);
}
template <class M>
MMA_AVX2 int on_avx2(Tile& t) {
  return tile_body<8, M>(t);
}
template <class M>
MMA_ANY int on_any(Tile& t) {
  return tile_body<4, M>(t);
}

template <class M, int (*fast)(Tile&)>
void tile(Tile& t) {
  const unsigned mode = _mm_getcsr();  // tile_body.h rounds f32 sums by it
  if (!M::half_sums) _mm_setcsr(mode | _MM_ROUND_TOWARD_ZERO);
  const int again = fast(t);
  _mm_setcsr(mode);
  if (__builtin_expect(again, 0)) tile_slow(*find_row(M::sm, M::operand, M::accumulator), t);
}

template <class M>
TileFunction of(Isa isa) {
  if (isa == Isa::avx512) return tile<M, on_avx512<M>>;
  return isa == Isa::avx2 ? tile<M, on_avx2<M>> : tile<M, on_any<M>>;
}

template <uint32_t SM, int GROUP, int FRACTION, int BF16_FLOOR, int HALF_FLOOR>
TileFunction of_architecture(Operand operand, Accumulator accumulator, Isa isa) {
  constexpr int kNoFloor = -100;  // see tile_body.h
  constexpr auto f16 = Operand::f16, bf16 = Operand::bf16;
  constexpr auto wide = Accumulator::f32, half = Accumulator::f16;
  if (operand == bf16) return of<Model<SM, bf16, wide, GROUP, FRACTION, BF16_FLOOR>>(isa);
  if (accumulator == half) return of<Model<SM, f16, half, GROUP, FRACTION, HALF_FLOOR>>(isa);
  return of<Model<SM, f16, wide, GROUP, FRACTION, kNoFloor>>(isa);
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

TileFunction tile_function(uint32_t sm, Operand operand, Accumulator accumulator, Isa isa) {
  const Row* row = find_row(sm, operand, accumulator);
  if (row == nullptr) return nullptr;
  // tile_test.cpp compares each with the slow model, which reads the numbers from the row.
  if (row->group == 16) return of_architecture<90, 16, 25, -133, -21>(operand, accumulator, isa);
  return of_architecture<80, 8, 24, -132, -20>(operand, accumulator, isa);
}

}  // namespace mma
