// platform.h - what the kernels are linked with, besides device.h: the memory of the device and, on
// the emulator, its control. cuda_device.cu defines both for CUDA, native/simt for the emulator.
#pragma once
#include "../plugin/kernel_abi.h"

namespace kvproof {

const kvp_memory* platform_memory();
const kvp_emulator* platform_emulator();  // null on a GPU
// Why a kernel cannot use these bytes, as the end of a sentence, or null.
const char* platform_address_error(const void* address, uint64_t bytes);

}  // namespace kvproof
