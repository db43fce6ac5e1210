// platform.cpp - what kernels/platform.h asks of whatever the kernels are linked with: the device's
// memory and the emulator's control. kernels/cuda_device.cu defines the same two for CUDA.
#include "../kernels/platform.h"

#include "emulator.h"

namespace kvproof {

const kvp_memory* platform_memory() { return &simt::memory_table; }
const kvp_emulator* platform_emulator() { return &simt::emulator_table; }

}  // namespace kvproof
