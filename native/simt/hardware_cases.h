// hardware_cases.h - one kernel for each group of functions of device.h, on inputs that bring out
// their corners, and a hash of what each wrote. hardware_record.cu runs them on a GPU,
// hardware_test.cpp on the emulator, and holds it against what the GPU answered.
//
// Inputs are drawn by the kernels themselves from the thread's number, so that nothing else
// decides.
#pragma once
#include "device.h"

namespace hardware {

constexpr uint32_t threads = 128, blocks = 64, words = 16;  // words that each thread writes

// splitmix64 of (thread, draw), 32 bits.
DEV_FN uint32_t draw(uint32_t thread, uint32_t n) {
  uint64_t z = (static_cast<uint64_t>(thread) << 32 | n) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return static_cast<uint32_t>((z ^ z >> 31) >> 32);
}
// Any bits, or one of the values at which rules change.
DEV_FN uint32_t corner_f32(uint32_t bits) {
  if (bits % 4 != 0) return bits;
  const uint32_t magnitude[8] = {0,          1,          0x007fffff, 0x00800000,
                                 0x3f800000, 0x7f7fffff, 0x7f800000, 0x7fc00000};
  return magnitude[bits >> 4 & 7] | (bits & 0x80000000u);
}
DEV_FN uint32_t corner_f16x2(uint32_t bits) {
  if (bits % 4 != 0) return bits;
  const uint32_t magnitude[8] = {0, 1, 0x03ff, 0x0400, 0x3c00, 0x7bff, 0x7c00, 0x7e01};
  return (magnitude[bits >> 4 & 7] | magnitude[bits >> 8 & 7] << 16) | (bits & 0x80008000u);
}
DEV_FN uint32_t self() { return dev::block_x() * threads + dev::thread_x(); }

DEV_KERNEL(threads) f32_kernel(uint32_t* out) {
  const uint32_t t = self();
  const float a = dev::f32_from_bits(corner_f32(draw(t, 0)));
  const float b = dev::f32_from_bits(corner_f32(draw(t, 1)));
  const float c = dev::f32_from_bits(corner_f32(draw(t, 2)));
  const float results[14] = {dev::fma_rn(a, b, c),
                             dev::add_rn(a, b),
                             dev::sub_rn(a, b),
                             dev::mul_rn(a, b),
                             dev::div_rn(a, b),
                             dev::max_num(a, b),
                             dev::min_num(a, b),
                             dev::floor_f32(a),
                             dev::trunc_toward_zero(a),
                             dev::rint_even(a),
                             dev::ex2(a),
                             dev::rcp(b),
                             dev::ex2(dev::f32_from_bits((draw(t, 3) & 0x80ffffffu) | 0x41000000u)),
                             dev::fma_rn(a, a, -c)};
  for (uint32_t i = 0; i < 14; i++) out[t * words + i] = dev::bits_from_f32(results[i]);
  out[t * words + 14] = static_cast<uint32_t>(dev::i32_from_f32(a));
}

// Arguments of every exponent, and in the range where softmax has them.
DEV_KERNEL(threads) special_kernel(uint32_t* out) {
  const uint32_t t = self();
  for (uint32_t k = 0; k < 4; k++) {
    const float any = dev::f32_from_bits(corner_f32(draw(t, 70 + k)));
    const float small = dev::f32_from_bits((draw(t, 74 + k) & 0x83ffffffu) + 0x3e000000u);
    out[t * words + 4 * k] = dev::bits_from_f32(dev::ex2(small));
    out[t * words + 4 * k + 1] = dev::bits_from_f32(dev::ex2(any));
    out[t * words + 4 * k + 2] = dev::bits_from_f32(dev::rcp(any));
    out[t * words + 4 * k + 3] = dev::bits_from_f32(dev::lg2(any));
  }
}

DEV_KERNEL(threads) halves_kernel(uint32_t* out) {
  const uint32_t t = self();
  const uint32_t a = corner_f16x2(draw(t, 10)), b = corner_f16x2(draw(t, 11));
  const float x = dev::f32_from_bits(corner_f32(draw(t, 12)));
  // Near ties of f16 and of bf16.
  const float tie = dev::f32_from_bits((draw(t, 13) & 0x80ffe000u) | 0x38001000u);
  const float bf_tie = dev::f32_from_bits((draw(t, 14) & 0xffff0000u) | 0x8000u);
  uint32_t* to = out + t * words;
  to[0] = dev::h2mul(a, b);
  to[1] = dev::h2max(a, b);
  to[2] = dev::h2pack(x, tie);
  to[3] = dev::bits_from_f32(dev::h2unpack(a).x);
  to[4] = dev::bits_from_f32(dev::h2unpack(a).y);
  to[5] = dev::bits_from_f32(dev::f32_from_f16(static_cast<uint16_t>(b)));
  to[6] = dev::f16_from_f32(tie);
  to[7] = dev::bf2pack(x, bf_tie);
  to[8] = dev::bits_from_f32(dev::bf2unpack(draw(t, 15)).x);
  to[9] = dev::bits_from_f32(dev::bf2unpack(draw(t, 15)).y);
  to[10] = dev::bf16_from_f32(bf_tie);
}

DEV_KERNEL(threads) warp_kernel(uint32_t* out) {
  const uint32_t t = self(), lane = dev::thread_x() % 32;
  const uint32_t v = draw(t, 20);
  const int operand = static_cast<int>(draw(t / 32, 21) % 32);
  const uint32_t mask = lane < 12 ? 0x00000fffu : 0xfffff000u;
  uint32_t* to = out + t * words;
  to[0] = dev::shfl_xor(v, operand);
  to[1] = dev::shfl_up(v, operand);
  to[2] = dev::shfl_down(v, operand);
  to[3] = dev::shfl(v, static_cast<int>(v % 32));
  to[4] = dev::redux_add(v, mask);
  to[5] = dev::redux_min(v, mask);
  to[6] = dev::redux_max(v, mask);
  to[7] = dev::vote_ballot(v & 1, mask);
  to[8] = dev::vote_any(v % 8 == 0, mask) + 2 * dev::vote_all(v % 8 != 0, mask);
  to[9] = dev::movmatrix_trans(v);
}

DEV_KERNEL(threads) matrix_kernel(uint32_t* out) {
  using Rows = uint32_t[threads * 4];
  DEV_SHARED(Rows, rows);
  const uint32_t t = self(), i = dev::thread_x();
  for (uint32_t k = 0; k < 4; k++) rows[4 * i + k] = draw(t, 30 + k);
  dev::syncthreads();
  const uint32_t* row = rows + 4 * ((i * 5 + 3) % threads);
  uint32_t one[1], two[2], four[4];
  uint32_t* to = out + t * words;
  dev::ldmatrix(one, row);
  dev::ldmatrix(two, row);
  dev::ldmatrix(four, row);
  to[0] = one[0];
  for (uint32_t k = 0; k < 2; k++) to[1 + k] = two[k];
  for (uint32_t k = 0; k < 4; k++) to[3 + k] = four[k];
  dev::ldmatrix_trans(one, row);
  dev::ldmatrix_trans(two, row);
  dev::ldmatrix_trans(four, row);
  to[7] = one[0];
  for (uint32_t k = 0; k < 2; k++) to[8 + k] = two[k];
  for (uint32_t k = 0; k < 4; k++) to[10 + k] = four[k];
}

// Every second warp has any bits, the others finite numbers of a middling size.
DEV_KERNEL(threads) mma_kernel(uint32_t* out) {
  const uint32_t t = self();
  const bool wild = t / 32 % 2 == 1;
  uint32_t a[4], b[2];
  for (uint32_t k = 0; k < 4; k++) a[k] = draw(t, 40 + k) & (wild ? ~0u : 0xbfffbfffu);
  for (uint32_t k = 0; k < 2; k++) b[k] = draw(t, 44 + k) & (wild ? ~0u : 0xbfffbfffu);
  float c[4], d[4];
  for (uint32_t k = 0; k < 4; k++) {
    const uint32_t bits = draw(t, 46 + k);
    c[k] = d[k] = dev::f32_from_bits(wild ? bits : (bits & 0x80ffffffu) | 0x3f000000u);
  }
  uint32_t half[2] = {draw(t, 50) & (wild ? ~0u : 0xbfffbfffu), draw(t, 51) & 0xbfffbfffu};
  dev::mma_f16_f32(c, a[0], a[1], a[2], a[3], b[0], b[1]);
  dev::mma_bf16_f32(d, a[0], a[1], a[2], a[3], b[0], b[1]);
  dev::mma_f16_f16(half, a[0], a[1], a[2], a[3], b[0], b[1]);
  uint32_t* to = out + t * words;
  for (uint32_t k = 0; k < 4; k++) {
    to[k] = dev::bits_from_f32(c[k]);
    to[4 + k] = dev::bits_from_f32(d[k]);
  }
  to[8] = half[0];
  to[9] = half[1];
}

// Named barriers, atomics whose result does not depend on their order, both kinds of copies.
DEV_KERNEL(threads) block_kernel(uint32_t* out) {
  using Counters = uint32_t[4];
  using Sums = float[1];
  DEV_SHARED(Counters, counters);
  DEV_SHARED(Sums, sum);
  const uint32_t t = self(), warp = dev::thread_x() / 32;
  if (dev::thread_x() < 4) counters[dev::thread_x()] = dev::thread_x() == 2 ? ~0u : 0;
  if (dev::thread_x() == 0) sum[0] = 0;
  dev::syncthreads();
  if (warp > 0) dev::barrier_sync(warp, 64);
  const uint32_t before = dev::atomic_load(counters);  // what the warps before have added
  dev::syncwarp();
  dev::atomic_add(counters, draw(t, 60));
  dev::atomic_max(counters + 1, draw(t, 61));
  dev::atomic_min(counters + 2, draw(t, 62));
  dev::atomic_add(sum, 0x1p-130f);  // shared: subnormals are kept
  dev::threadfence();
  if (warp < 3) dev::barrier_arrive(warp + 1, 64);
  dev::syncthreads();
  uint32_t* to = out + t * words;
  to[0] = before;
  for (uint32_t k = 0; k < 3; k++) to[1 + k] = dev::atomic_load(counters + k);
  to[4] = dev::bits_from_f32(sum[0]);
}

struct Group {
  const char* name;
  void (*kernel)(uint32_t*);
};
inline const Group groups[] = {{"f32", f32_kernel},       {"special", special_kernel},
                               {"halves", halves_kernel}, {"warp", warp_kernel},
                               {"matrix", matrix_kernel}, {"mma", mma_kernel},
                               {"block", block_kernel}};
constexpr uint32_t out_words = threads * blocks * words;

// FNV-1a over the words that were written; the rest holds 0.
inline uint64_t hash(const uint32_t* out) {
  uint64_t h = 0xcbf29ce484222325u;
  for (uint32_t i = 0; i < out_words; i++) h = (h ^ out[i]) * 0x100000001b3u;
  return h;
}

inline dev::Launch shape() {
  dev::Launch launch;
  launch.grid.x = blocks;
  launch.threads = threads;
  return launch;
}

}  // namespace hardware
