// platform.cpp - what kernels/platform.h asks of whatever the kernels are linked with: the device's
// memory and the emulator's control. kernels/cuda_device.cu defines the same for CUDA.
#include "../kernels/platform.h"

#include "arena.h"
#include "emulator.h"

namespace kvproof {

const kvp_memory* platform_memory() { return &simt::memory_table; }
const kvp_emulator* platform_emulator() { return &simt::emulator_table; }
const char* platform_address_error(const void* address, uint64_t bytes) {
  if (simt::arena_contains(reinterpret_cast<uint64_t>(address), bytes)) return nullptr;
  return "are not in one allocation of the device";
}

}  // namespace kvproof
