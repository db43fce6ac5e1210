// device.h - the one header between CUDA and the CPU emulator.
//
// A kernel includes this file and nothing else of the platform, and contains no #ifdef. nvcc takes
// the first branch (inline PTX, sm_80 and later), any other compiler the second (calls into the
// emulator). Both sides define the same names in namespace dev with the same results in every bit;
// the compiler flags that this needs are -fmad=false -ftz=false -prec-div=true -prec-sqrt=true for
// nvcc and -ffp-contract=off for the host.
//
//   DEV_KERNEL(threads) name(args)    an entry point, launched with at most that many threads
//   DEV_KERNEL_BLOCKS(threads, blocks) the same, in registers that leave room for so many blocks on
//                                     a multiprocessor
//   DEV_FN type name(args)            a function of the device
//   DEV_UNROLL                        before a loop that must be unrolled on the GPU
//   DEV_UNROLL_BY(times)              before one that is unrolled so often and no more
//   DEV_SHARED(T, name)               static shared memory; an array type needs a typedef first
//   DEV_DYN_SHARED(T, name, align)    the dynamic shared memory of the launch, as T*
//
// Arithmetic that decides bits is written with the functions below, never with operators whose
// contraction, rounding or NaN a compiler may choose: fma_rn, add_rn, sub_rn, mul_rn, div_rn,
// max_num, min_num. The only NaN they return is 0x7fffffff (f32) or 0x7fff (f16), as the hardware
// does.
#pragma once
#if defined(__SANITIZE_THREAD__) && !defined(__CUDACC__)
#include "device_checked.h"
#endif

#include <stddef.h>
#include <stdint.h>

#include "../plugin/kernel_abi.h"

namespace dev {

// Largest shared memory of one block, static and dynamic together, in bytes (CUDA C++ Programming
// Guide 13.0, table "Technical Specifications per Compute Capability"): 227, 163 and 99 KiB.
constexpr uint32_t smem_limit(uint32_t sm) {
  return sm >= 90 ? 227 * 1024 : sm == 80 || sm == 87 ? 163 * 1024 : 99 * 1024;
}
constexpr uint32_t smem_limit_static = 48 * 1024;

struct Grid {
  uint32_t x = 1, y = 1, z = 1;
};

// How a kernel is launched. smem_bytes is the dynamic part alone. overlaps_previous: from sm_90 on,
// the kernel may start once every block of the one before it in the stream has called
// allow_next_launch() or ended, and then has to call wait_for_previous_launch() before it touches
// memory. The emulator runs one launch after another.
struct Launch {
  Grid grid;
  uint32_t threads = 0;
  uint32_t smem_bytes = 0;
  void* stream = nullptr;
  bool overlaps_previous = false;
};

// Outcome of a launch or query; text is one sentence, empty if code is KVP_OK.
struct Status {
  kvp_status code = KVP_OK;
  char text[240] = "";
  bool ok() const { return code == KVP_OK; }
};

// What the host code of a kernel may ask about the device before it chooses a variant.
struct DeviceFacts {
  uint32_t sm = 0;               // 90 for sm_90
  uint32_t multiprocessors = 0;  // blocks that can run at once, at one block each
};

}  // namespace dev

#ifdef __CUDACC__
#include "device_cuda.h"
#else
#include "device_emulated.h"
#endif
