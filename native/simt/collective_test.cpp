// collective_test.cpp - plain build: what the threads of a warp and of a block do together gives
// the values that PTX defines, each against a few lines that compute them in another way.
#include <algorithm>

#include "../mma/convert.h"
#include "../mma/fused_sum.h"
#include "test_device.h"

namespace {

using check::claim;
using check::Random;
using test::allocate;
using test::download;
using test::upload;

constexpr uint32_t kFullMask = ~0u;

dev::Launch shape(uint32_t threads, uint32_t blocks = 1, uint32_t smem_bytes = 0) {
  dev::Launch launch;
  launch.grid.x = blocks;
  launch.threads = threads;
  launch.smem_bytes = smem_bytes;
  return launch;
}

// ---- shuffles, votes, reductions ----

DEV_KERNEL(32) shuffle_kernel(uint32_t* out, const uint32_t* in, int operand) {
  const uint32_t lane = dev::thread_x(), v = in[lane];
  out[lane] = dev::shfl_xor(v, operand);
  out[32 + lane] = dev::shfl_up(v, operand);
  out[64 + lane] = dev::shfl_down(v, operand);
  out[96 + lane] = dev::shfl(v, operand);
  out[128 + lane] = dev::bits_from_f32(dev::shfl_down(dev::f32_from_bits(v), operand));
  out[160 + lane] = dev::shfl(v, static_cast<int>(31 - lane));  // a lane of its own choice
}

void shuffles() {
  test::start();
  Random r(1);
  std::vector<uint32_t> in(32);
  for (uint32_t& v : in) v = r.bits() & 0xbfffffffu;
  bool right = true;
  for (int operand = 0; operand < 32; operand++) {
    uint32_t* out = allocate<uint32_t>(192, "out");
    dev::launch(shuffle_kernel, shape(32), out, upload(in, "in"), operand);
    const auto got = download(out, 192);
    for (int lane = 0; lane < 32; lane++) {
      const auto at = [&](int i) { return in[static_cast<size_t>(i)]; };
      const auto is = [&](int part, uint32_t want) {
        right = right && got[static_cast<size_t>(part * 32 + lane)] == want;
      };
      is(0, at(lane ^ operand));
      is(1, at(lane >= operand ? lane - operand : lane));
      is(2, at(lane + operand < 32 ? lane + operand : lane));
      is(3, at(operand));
      is(4, at(lane + operand < 32 ? lane + operand : lane));
      is(5, at(31 - lane));
    }
  }
  claim(right && test::reports().empty(), "shuffles read the lanes that PTX names");
}

DEV_KERNEL(32) vote_kernel(uint32_t* out, const uint32_t* in, uint32_t mask) {
  const uint32_t lane = dev::thread_x();
  if (!(mask >> lane & 1)) return;
  const uint32_t v = in[lane];
  out[lane] = dev::vote_ballot(v & 1, mask);
  out[32 + lane] = dev::vote_any(v & 1, mask) + 2 * dev::vote_all(v & 1, mask);
  out[64 + lane] = dev::redux_add(v, mask);
  out[96 + lane] = dev::redux_min(v, mask);
  out[128 + lane] = dev::redux_max(v, mask);
  dev::syncwarp(mask);
}

void votes() {
  test::start();
  Random r(2);
  bool right = true;
  for (int i = 0; i < 60; i++) {
    std::vector<uint32_t> in(32);
    // All, none and some of the predicates true.
    for (uint32_t& v : in) v = i % 3 == 0 ? r.bits() | 1 : i % 3 == 1 ? r.bits() & ~1u : r.bits();
    const uint32_t mask = i < 30 ? kFullMask : r.bits() | 1;
    uint32_t ballot = 0, sum = 0, least = ~0u, most = 0;
    for (uint32_t lane = 0; lane < 32; lane++) {
      if (!(mask >> lane & 1)) continue;
      ballot |= (in[lane] & 1) << lane;
      sum += in[lane];
      least = std::min(least, in[lane]);
      most = std::max(most, in[lane]);
    }
    uint32_t* out = allocate<uint32_t>(160, "out");
    dev::launch(vote_kernel, shape(32), out, upload(in, "in"), mask);
    const auto got = download(out, 160);
    const uint32_t both = (ballot != 0) + 2 * (ballot == mask);
    for (uint32_t lane = 0; lane < 32; lane++) {
      if (!(mask >> lane & 1)) continue;
      right = right && got[lane] == ballot && got[32 + lane] == both && got[64 + lane] == sum &&
              got[96 + lane] == least && got[128 + lane] == most;
    }
  }
  claim(right && test::reports().empty(), "votes and reductions see the lanes of their mask");
}

// ---- matrices ----

DEV_KERNEL(32) transpose_kernel(uint32_t* out, const uint32_t* in) {
  const uint32_t lane = dev::thread_x();
  out[lane] = dev::movmatrix_trans(in[lane]);
}

// Row i of matrix j is at a place that no other row is next to.
DEV_KERNEL(32) ldmatrix_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 16);
  const uint32_t lane = dev::thread_x();
  for (uint32_t i = 0; i < 4; i++) slot[8 * ((lane * 5) % 32) + i] = in[4 * lane + i];
  dev::syncwarp();
  const uint32_t* row = slot + 8 * ((lane * 5) % 32);
  uint32_t one[1], two[2], four[4];
  dev::ldmatrix(one, row);
  dev::ldmatrix(two, row);
  dev::ldmatrix(four, row);
  out[lane] = one[0];
  for (uint32_t i = 0; i < 2; i++) out[32 + 32 * i + lane] = two[i];
  for (uint32_t i = 0; i < 4; i++) out[96 + 32 * i + lane] = four[i];
  dev::ldmatrix_trans(four, row);
  for (uint32_t i = 0; i < 4; i++) out[224 + 32 * i + lane] = four[i];
}

void moves() {
  test::start();
  Random r(3);
  std::vector<uint32_t> in(128);  // 4 matrices of 8 rows of 8 halves
  for (uint32_t& v : in) v = r.bits();
  const auto half = [&](uint32_t matrix, uint32_t row, uint32_t column) {
    return in[(8 * matrix + row) * 4 + column / 2] >> 16 * (column % 2) & 0xffff;
  };
  uint32_t* out = allocate<uint32_t>(32, "out");
  dev::launch(transpose_kernel, shape(32), out, upload(in, "in"));
  const auto moved = download(out, 32);
  uint32_t* loaded = allocate<uint32_t>(352, "loaded");
  dev::launch(ldmatrix_kernel, shape(32, 1, 1024), loaded, upload(in, "in"));
  const auto got = download(loaded, 352);
  bool transposed = true, plain = true, both = true;
  for (uint32_t lane = 0; lane < 32; lane++) {
    const uint32_t r8 = lane / 4, c = 2 * (lane % 4);
    transposed = transposed && moved[lane] == (half(0, c, r8) | half(0, c + 1, r8) << 16);
    for (uint32_t m = 0; m < 4; m++) {
      const uint32_t want = half(m, r8, c) | half(m, r8, c + 1) << 16;
      plain = plain && got[96 + 32 * m + lane] == want;
      if (m < 2) plain = plain && got[32 + 32 * m + lane] == want;
      if (m < 1) plain = plain && got[lane] == want;
      both = both && got[224 + 32 * m + lane] == (half(m, c, r8) | half(m, c + 1, r8) << 16);
    }
  }
  claim(transposed, "movmatrix transposes an 8x8 matrix of halves");
  claim(plain, "ldmatrix gives each lane its two halves of 1, 2 and 4 matrices");
  claim(both, "ldmatrix.trans gives it those of the transposed ones");
}

struct MmaArguments {
  const uint16_t *a, *b;  // (16, 16) rows of A; (8, 16) columns of B
  const uint32_t* c;      // (16, 8), f16 in the low half for f16 accumulators
  uint32_t* d;            // (16, 8)
  int kind;               // 0 f16, 1 bf16, 2 f16 with f16 accumulators
};

// Fragments as the PTX ISA draws them for m16n8k16.
DEV_KERNEL(32) mma_kernel(MmaArguments t) {
  const uint32_t g = dev::thread_x() / 4, p = 2 * (dev::thread_x() % 4);
  const auto pair = [](const uint16_t* x) { return x[0] | static_cast<uint32_t>(x[1]) << 16; };
  const uint32_t a0 = pair(t.a + g * 16 + p), a1 = pair(t.a + (g + 8) * 16 + p);
  const uint32_t a2 = pair(t.a + g * 16 + p + 8), a3 = pair(t.a + (g + 8) * 16 + p + 8);
  const uint32_t b0 = pair(t.b + g * 16 + p), b1 = pair(t.b + g * 16 + p + 8);
  const uint32_t at[4] = {g * 8 + p, g * 8 + p + 1, (g + 8) * 8 + p, (g + 8) * 8 + p + 1};
  if (t.kind == 2) {
    uint32_t c[2] = {t.c[at[0]] | t.c[at[1]] << 16, t.c[at[2]] | t.c[at[3]] << 16};
    dev::mma_f16_f16(c, a0, a1, a2, a3, b0, b1);
    for (int i = 0; i < 4; i++) t.d[at[i]] = c[i / 2] >> 16 * (i % 2) & 0xffff;
    return;
  }
  float c[4];
  for (int i = 0; i < 4; i++) c[i] = dev::f32_from_bits(t.c[at[i]]);
  if (t.kind == 0) dev::mma_f16_f32(c, a0, a1, a2, a3, b0, b1);
  if (t.kind == 1) dev::mma_bf16_f32(c, a0, a1, a2, a3, b0, b1);
  for (int i = 0; i < 4; i++) t.d[at[i]] = dev::bits_from_f32(c[i]);
}

void products() {
  using mma::Accumulator;
  using mma::Operand;
  const char* names[] = {"mma, f16", "mma, bf16", "mma, f16 with f16 sums"};
  const Operand operands[] = {Operand::f16, Operand::bf16, Operand::f16};
  const Accumulator accumulators[] = {Accumulator::f32, Accumulator::f32, Accumulator::f16};
  for (int kind = 0; kind < 3; kind++) {
    bool right = true;
    for (uint32_t sm : {80u, 89u, 90u}) {
      test::start({"round-robin", "eager", 1, 0, sm});
      Random r(sm);
      std::vector<uint16_t> a(256), b(128);
      std::vector<uint32_t> c(128);
      for (int tile = 0; tile < 20; tile++) {
        for (uint16_t& v : a) v = static_cast<uint16_t>(r.bits() & (tile ? 0xbfff : 0xffff));
        for (uint16_t& v : b) v = static_cast<uint16_t>(r.bits() & (tile ? 0xbfff : 0xffff));
        for (uint32_t& v : c) {
          v = kind == 2 ? r.bits() & 0xbfff : (r.bits() & 0x807fffff) | 120u << 23;
        }
        uint32_t* d = allocate<uint32_t>(128, "d");
        dev::launch(mma_kernel, shape(32),
                    MmaArguments{upload(a, "a"), upload(b, "b"), upload(c, "c"), d, kind});
        const auto got = download(d, 128);
        const mma::Row& row = *mma::find_row(sm, operands[kind], accumulators[kind]);
        for (size_t i = 0; i < 128; i++) {
          right = right && got[i] == mma::dot(row, &a[i / 8 * 16], &b[i % 8 * 16], 16, c[i]);
        }
      }
    }
    claim(right && test::reports().empty(), names[kind]);
  }
}

// ---- the block ----

// Warps hand a word round in a ring of named barriers: 1 + 2 + ... in a fixed order.
DEV_KERNEL(128) ring_kernel(uint32_t* out) {
  using One = uint32_t[1];
  DEV_SHARED(One, word);
  const uint32_t warp = dev::thread_x() / 32, lane = dev::thread_x() % 32;
  if (warp == 0 && lane == 0) word[0] = 1;
  if (warp > 0) dev::barrier_sync(warp, 64);
  if (lane == 0) word[0] = word[0] * 3 + warp;
  if (warp < 3) dev::barrier_arrive(warp + 1, 64);
  dev::syncthreads();
  out[dev::thread_x()] = word[0];
}

DEV_KERNEL(64) atomics_kernel(uint32_t* out, float* sum) {
  const uint32_t i = dev::thread_x();
  dev::atomic_add(out, 2u);
  dev::atomic_max(out + 1, i);
  dev::atomic_min(out + 2, i + 7);
  dev::atomic_add(sum, 0.5f);
  while (dev::atomic_compare_exchange(out + 3, i, i + 1) != i) {  // in order of the threads
  }
  if (dev::atomic_exchange(out + 4, 1u) == 0) dev::atomic_store(out + 5, dev::atomic_load(out + 4));
}

void blocks() {
  bool ring = true, atomics = true;
  for (uint64_t seed = 1; seed <= 8; seed++) {
    for (const test::Schedule& s : test::schedules(seed)) {
      test::start(s);
      uint32_t* out = allocate<uint32_t>(128, "out");
      dev::launch(ring_kernel, shape(128), out);
      const auto got = download(out, 128);
      const uint32_t want = (((3 + 0) * 3 + 1) * 3 + 2) * 3 + 3;
      ring = ring && got == std::vector<uint32_t>(128, want) && test::reports().empty();
      uint32_t* words = upload(std::vector<uint32_t>{0, 0, 99, 0, 0, 0}, "words");
      float* sum = upload(std::vector<float>{1.0f}, "sum");
      dev::launch(atomics_kernel, shape(64), words, sum);
      const auto w = download(words, 6);
      atomics = atomics && w[0] == 128 && w[1] == 63 && w[2] == 7 && w[3] == 64 && w[4] == 1 &&
                w[5] == 1 && download(sum, 1)[0] == 33.0f && test::reports().empty();
    }
  }
  claim(ring, "named barriers order producers and consumers");
  claim(atomics, "atomics of all threads take effect");
}

}  // namespace

int main() {
  shuffles();
  votes();
  moves();
  products();
  blocks();
  return check::finish();
}
