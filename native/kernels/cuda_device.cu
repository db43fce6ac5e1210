// cuda_device.cu - what the kernels are linked with on CUDA: the memory table of
// plugin/cuda_memory.h on the architectures that they are built for, and what is known about an
// address.
#include "../plugin/cuda_memory.h"

#include <stdio.h>

#include "platform.h"

namespace kvproof {

static kvp_status open(uint32_t ordinal, kvp_device* device, char* err, size_t err_bytes) {
  const kvp_status status = kvproof_cuda::open(ordinal, device, err, err_bytes);
  if (status != KVP_OK || device->sm >= 80) return status;
  snprintf(err, err_bytes, "cuda:%u: %s is sm_%u, sm_80 or later is required", ordinal,
           device->name, device->sm);
  return KVP_DEVICE;
}

const kvp_memory* platform_memory() {
  static const kvp_memory memory = [] {
    kvp_memory table = *kvproof_cuda::memory();
    table.open = open;
    return table;
  }();
  return &memory;
}

const kvp_emulator* platform_emulator() { return nullptr; }

// Looks at the first and the last byte. What the runtime does not know is host memory.
const char* platform_address_error(const void* address, uint64_t bytes) {
  int current = 0;
  if (cudaGetDevice(&current) != cudaSuccess) return nullptr;  // the launch will say it
  for (uint64_t offset : {uint64_t{0}, bytes - 1}) {
    cudaPointerAttributes at;
    const cudaError_t e =
        cudaPointerGetAttributes(&at, static_cast<const uint8_t*>(address) + offset);
    if (e != cudaSuccess) {
      cudaGetLastError();  // not sticky: a wrong argument is no failure of the device
      return "are not known to the device";
    }
    if (at.type == cudaMemoryTypeManaged) continue;
    if (at.type != cudaMemoryTypeDevice) return "are not memory of the device";
    if (at.device != current) return "are memory of another device";
  }
  return nullptr;
}

}  // namespace kvproof

const kvp_streams* kvproof_streams(void) { return kvproof_cuda::streams(); }
