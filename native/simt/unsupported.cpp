// unsupported.cpp - does not compile, and that is the test: a kernel that leaves device.h is
// refused on a CPU with a message that names what it used (CMakeLists.txt, tests unsupported_*).
#include "device.h"

namespace {

DEV_KERNEL(32) intrinsic_kernel(uint32_t* out) { out[0] = __shfl_xor_sync(~0u, out[1], 1); }

DEV_KERNEL(128) instruction_kernel(float* out) { dev::wgmma_f16_f32(out); }

}  // namespace
