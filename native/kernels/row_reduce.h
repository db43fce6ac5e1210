// row_reduce.h - reductions over the eight lanes of a warp that hold one column of a fragment: the
// lanes g * 4 + c with equal c. The result is the same in all eight.
#pragma once
#include "../simt/device.h"

namespace kvproof {

DEV_FN float max_over_rows(float x) {
  DEV_UNROLL
  for (int offset = 4; offset < 32; offset *= 2) x = dev::max_num(x, dev::shfl_xor(x, offset));
  return x;
}

// Of two fp16 at once.
DEV_FN uint32_t half2_max_over_rows(uint32_t x) {
  DEV_UNROLL
  for (int offset = 4; offset < 32; offset *= 2) x = dev::h2max(x, dev::shfl_xor(x, offset));
  return x;
}
DEV_FN uint32_t half2_min_over_rows(uint32_t x) {
  DEV_UNROLL
  for (int offset = 4; offset < 32; offset *= 2) x = dev::h2min(x, dev::shfl_xor(x, offset));
  return x;
}

DEV_FN float sum_over_rows(float x) {
  DEV_UNROLL
  for (int offset = 4; offset < 32; offset *= 2) x = dev::add_rn(x, dev::shfl_xor(x, offset));
  return x;
}

}  // namespace kvproof
