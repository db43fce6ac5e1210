// memory_test.cpp - checked build: accesses to what does not exist, was never written, is not
// aligned or is not the device's, each beside its right twin.
#include "test_checked.h"

namespace {

using Words = uint32_t[64];
using Barrier = uint64_t[1];

// ---- out of bounds ----

template <bool right>
DEV_KERNEL(32)
store_past_end_kernel(uint32_t* out) {
  out[dev::thread_x() + (right ? 0 : 1)] = 1;  // reported
}

template <bool right>
DEV_KERNEL(32)
load_before_start_kernel(uint32_t* out, const uint32_t* in) {
  const uint32_t i = dev::thread_x();
  out[i] = in[right ? i : i - 1u + (i == 0 ? 0x3fffffffffffffffull + 1 : 0)];  // reported
}

// Beyond the redzone of its own buffer lies another buffer's; the one named is the nearest below.
template <bool right>
DEV_KERNEL(1)
far_past_end_kernel(uint32_t* out) {
  out[right ? 31 : 31 + 1024] = 1;  // reported
}

template <bool right>
DEV_KERNEL(32)
redzone_kernel(uint32_t* out) {
  out[(right ? 32 : 0) + dev::thread_x()] = 1;  // reported
}

template <bool right>
DEV_KERNEL(32)
static_shared_kernel(uint32_t* out) {
  DEV_SHARED(Words, first);
  DEV_SHARED(Words, second);
  const uint32_t i = dev::thread_x();
  second[i] = 0;
  first[(right ? 0 : 48) + i] = i;  // reported
  out[i] = second[i];
}

template <bool right>
DEV_KERNEL(32)
dynamic_shared_kernel(uint32_t* out) {
  DEV_DYN_SHARED(uint32_t, slot, 16);
  const uint32_t i = dev::thread_x();
  slot[right ? i : i + 1] = i;  // reported
  out[i] = i;
}

template <bool right>
DEV_KERNEL(1)
null_kernel(uint32_t* out) {
  uint32_t* p = right ? out : nullptr;
  asm volatile("" : "+r"(p));  // the compiler does not know
  *p = 1;                      // reported
}

uint32_t of_the_host[4];
template <bool right>
DEV_KERNEL(1)
host_pointer_kernel(uint32_t* out) {
  uint32_t* p = right ? out : of_the_host;
  asm volatile("" : "+r"(p));
  *p = 1;  // reported
}

template <bool right>
DEV_KERNEL(32)
copy_past_end_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 128);
  DEV_SHARED(Barrier, bar);
  if (dev::thread_x() == 0) {
    dev::mbar_init(bar, 1);
    dev::fence_mbar_init();
    dev::mbar_arrive_expect_tx(bar, 128);
    dev::bulk_g2s(slot, in + (right ? 0 : 4), 128, bar);  // reported
  }
  dev::syncwarp();
  dev::mbar_wait(bar, 0);
  out[dev::thread_x()] = slot[dev::thread_x()];
}

template <bool right>
DEV_KERNEL(32)
matrix_past_end_kernel(uint32_t* out) {
  DEV_DYN_SHARED(uint32_t, slot, 16);
  const uint32_t i = dev::thread_x();
  slot[i] = i;
  dev::syncwarp();
  uint32_t r[1];
  dev::ldmatrix(r, slot + (right ? 0 : 4) + 4 * (i % 8));  // reported
  out[i] = r[0];
}

// ---- never written ----

template <bool right>
DEV_KERNEL(32)
unwritten_buffer_kernel(uint32_t* out, uint32_t* scratch) {
  const uint32_t i = dev::thread_x();
  if (right) scratch[i] = i;
  out[i] = scratch[i];  // reported
}

// The halves of a word are written one by one.
template <bool right>
DEV_KERNEL(32)
unwritten_half_kernel(uint32_t* out, uint16_t* scratch) {
  const uint32_t i = dev::thread_x();
  scratch[2 * i] = 1;
  if (right) scratch[2 * i + 1] = 1;
  out[i] = reinterpret_cast<uint32_t*>(scratch)[i];  // reported
}

// Shared memory of the block before is not this block's.
template <bool right>
DEV_KERNEL(32)
earlier_block_kernel(uint32_t* out) {
  DEV_SHARED(Words, words);
  const uint32_t i = dev::thread_x();
  if (right || dev::block_x() == 0) words[i] = i;
  dev::syncwarp();
  out[dev::block_x() * 32 + i] = words[i];  // reported
}

template <bool right>
DEV_KERNEL(32)
dead_region_kernel(uint32_t* out) {
  DEV_DYN_SHARED(uint32_t, slot, 16);
  const uint32_t i = dev::thread_x();
  slot[i] = i;
  dev::syncthreads_fresh(slot, 128);
  if (right || i % 2) slot[i] = i;
  out[i] = slot[i];  // reported
}

// The partial result of a split without tokens, which its block never writes.
template <bool right>
DEV_KERNEL(32)
partial_kernel(uint32_t* partial) {
  const bool empty = dev::block_x() == 2;
  if (right || !empty) partial[dev::block_x() * 32 + dev::thread_x()] = 1;
}
DEV_KERNEL(32) merge_kernel(uint32_t* out, const uint32_t* partial) {
  uint32_t sum = 0;
  for (uint32_t split = 0; split < 3; split++) {
    sum += partial[split * 32 + dev::thread_x()];  // reported
  }
  out[dev::thread_x()] = sum;
}
template <bool right>
void split_and_merge() {
  uint32_t* partial = test::words(96, "partial");
  dev::launch(partial_kernel<right>, test::shape(32, 3), partial);
  dev::launch(merge_kernel, test::shape(32), test::words(32, "out"), partial);
}

template <bool right>
DEV_KERNEL(32)
copied_unwritten_kernel(uint32_t* out, uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 16);
  const uint32_t i = dev::thread_x();
  if (right) in[i] = i;
  dev::syncwarp();
  if (i < 8) dev::cp_async16(slot + 4 * i, in + 4 * i);  // reported
  dev::cp_async_commit();
  dev::cp_async_wait<0>();
  dev::syncwarp();
  out[i] = slot[i];
}

// Through memcpy and memset, which the instrumentation of a compiler does not see.
template <bool right>
DEV_KERNEL(32)
memcpy_kernel(uint32_t* out, uint32_t* scratch) {
  const uint32_t i = dev::thread_x();
  if (right) memset(scratch + 2 * i, 0, 8);
  memcpy(out + 2 * i, scratch + 2 * i, 8);  // reported
}

// ---- aligned ----

template <bool right>
DEV_KERNEL(4)
vector_kernel(uint32_t* out, const uint32_t* in) {
  const uint32_t i = dev::thread_x() * 4;
  const uint4 v = *reinterpret_cast<const uint4*>(in + i + (right ? 0 : 2));  // reported
  out[i] = v.x + v.w;
}

template <bool right>
DEV_KERNEL(4)
register_array_kernel(uint32_t* out, const uint32_t* in) {
  uint32_t sums[4] = {0, 0, 0, 0};
  for (uint32_t i = 0; i < 4; i++) sums[i + (right ? 0 : 1)] += in[i];  // reported
  out[dev::thread_x()] = sums[0] + sums[1] + sums[2] + sums[3];
}

template <bool right>
DEV_KERNEL(8)
copy_aligned_kernel(uint32_t* out, const uint32_t* in) {
  DEV_DYN_SHARED(uint32_t, slot, 16);
  const uint32_t i = dev::thread_x() * 4;
  dev::cp_async16(slot + i, in + i + (right ? 0 : 1));  // reported
  dev::cp_async_commit();
  dev::cp_async_wait<0>();
  out[i] = slot[i];
}

template <bool right>
DEV_KERNEL(32)
matrix_aligned_kernel(uint32_t* out) {
  DEV_DYN_SHARED(uint32_t, slot, 16);
  const uint32_t i = dev::thread_x();
  slot[i] = slot[i + 32] = i;
  dev::syncwarp();
  uint32_t r[1];
  dev::ldmatrix_trans(r, slot + (right ? 0 : 2) + 4 * (i % 8));  // reported
  out[i] = r[0];
}

// ---- arithmetic that ends a CPU's process ----

template <bool right>
DEV_KERNEL(32)
division_kernel(uint32_t* out, const uint32_t* in) {
  const uint32_t i = dev::thread_x();
  out[i] = 100 / (in[i] + (right ? 1 : 0));  // reported
}

using test::shape;
using test::twins;
using test::words;

#define OUT words(64, "out")
#define IN test::counting(32, "in")

uint32_t* with_redzone() {
  uint32_t* p = words(64, "out");
  test::redzone(p, 32);
  return p;
}

}  // namespace

int main() {
  const char* const bounds = "out of bounds";
  TWINS("a store past the end", bounds, store_past_end_kernel, shape(32), words(32, "out"));
  TWINS("a load before the start", bounds, load_before_start_kernel, shape(32), OUT, IN);
  TWINS("a store far past the end", bounds, far_past_end_kernel, shape(1), words(32, "out"));
  TWINS("a redzone of the host", bounds, redzone_kernel, shape(32), with_redzone());
  TWINS("past a shared variable", bounds, static_shared_kernel, shape(32), OUT);
  TWINS("past dynamic shared memory", bounds, dynamic_shared_kernel, shape(32, 1, 128), OUT);
  TWINS("a null pointer", bounds, null_kernel, shape(1), OUT);
  TWINS("a pointer to host memory", bounds, host_pointer_kernel, shape(1), OUT);
  TWINS("a bulk copy past the end", bounds, copy_past_end_kernel, shape(32, 1, 128), OUT, IN);
  TWINS("a row of ldmatrix past the end", bounds, matrix_past_end_kernel, shape(32, 1, 128), OUT);

  TWINS("an array in registers", bounds, register_array_kernel, shape(4), OUT, IN);

  const char* const uninitialised = "uninitialised read";
  TWINS("a buffer", uninitialised, unwritten_buffer_kernel, shape(32), OUT, words(32, "scratch"));
  TWINS("half a word", uninitialised, unwritten_half_kernel, shape(32), OUT,
        reinterpret_cast<uint16_t*>(words(32, "scratch")));
  TWINS("what an earlier block wrote to shared memory", uninitialised, earlier_block_kernel,
        shape(32, 2), OUT);
  TWINS("a region declared dead", uninitialised, dead_region_kernel, shape(32, 1, 128), OUT);
  twins("the partial result of an empty split", uninitialised, split_and_merge<false>,
        split_and_merge<true>);
  TWINS("a copy's source", uninitialised, copied_unwritten_kernel, shape(32, 1, 128), OUT,
        words(32, "in"));
  TWINS("by memcpy", uninitialised, memcpy_kernel, shape(32), OUT, words(64, "scratch"));

  const char* const misaligned = "misaligned access";
  TWINS("a vector load", misaligned, vector_kernel, shape(4), OUT, IN);
  TWINS("cp.async", misaligned, copy_aligned_kernel, shape(8, 1, 128), OUT,
        test::counting(64, "in"));
  TWINS("ldmatrix", misaligned, matrix_aligned_kernel, shape(32, 1, 256), OUT);

  TWINS("an integer division by zero", "illegal operation", division_kernel, shape(32), OUT,
        test::zeros(32, "in"));
  return test::finish();
}
