// cuda_device.cu - kvp_memory for CUDA: one device of this process, its allocations and its errors.
//
// Every error becomes one sentence with CUDA's own text. No driver (35) and no device (100) are
// expected on most machines and say so plainly. The runtime is linked statically, so that the
// library loads on a machine without CUDA.
#include <cuda_runtime.h>
#include <stdio.h>
#include <string.h>

#include <vector>

#include "platform.h"

namespace kvproof {

// What reset() frees: everything since open().
static std::vector<void*>& allocations() {
  static std::vector<void*> pointers;
  return pointers;
}

static kvp_status report(cudaError_t error, const char* where, char* err, size_t err_bytes) {
  if (error == cudaSuccess) return KVP_OK;
  if (err != nullptr && err_bytes > 0) {
    snprintf(err, err_bytes, "%s: %s (%s)", where, cudaGetErrorString(error),
             cudaGetErrorName(error));
  }
  return KVP_DEVICE;
}

static kvp_status open(uint32_t ordinal, kvp_device* device, char* err, size_t err_bytes) {
  int count = 0;
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted == cudaErrorInsufficientDriver || counted == cudaErrorNoDevice || count == 0) {
    snprintf(err, err_bytes, "cuda:%u: no CUDA device answers on this machine (%s)", ordinal,
             counted == cudaSuccess ? "none is visible" : cudaGetErrorString(counted));
    return KVP_DEVICE;
  }
  if (counted != cudaSuccess) return report(counted, "cudaGetDeviceCount", err, err_bytes);
  if (ordinal >= static_cast<uint32_t>(count)) {
    snprintf(err, err_bytes, "cuda:%u: this machine has %d CUDA device%s, numbered from 0", ordinal,
             count, count == 1 ? "" : "s");
    return KVP_DEVICE;
  }
  cudaError_t e = cudaSetDevice(static_cast<int>(ordinal));
  if (e != cudaSuccess) return report(e, "cudaSetDevice", err, err_bytes);
  cudaDeviceProp properties;
  e = cudaGetDeviceProperties(&properties, static_cast<int>(ordinal));
  if (e != cudaSuccess) return report(e, "cudaGetDeviceProperties", err, err_bytes);
  const uint32_t sm = static_cast<uint32_t>(properties.major * 10 + properties.minor);
  if (sm < 80) {
    snprintf(err, err_bytes, "cuda:%u: %s is sm_%u, sm_80 or later is required", ordinal,
             properties.name, sm);
    return KVP_DEVICE;
  }
  int driver = 0;
  e = cudaDriverGetVersion(&driver);
  if (e != cudaSuccess) return report(e, "cudaDriverGetVersion", err, err_bytes);
  snprintf(device->name, sizeof device->name, "%s", properties.name);
  snprintf(device->driver, sizeof device->driver, "CUDA %d.%d", driver / 1000, driver % 1000 / 10);
  device->sm = sm;
  device->multiprocessors = static_cast<uint32_t>(properties.multiProcessorCount);
  return KVP_OK;
}

static void* allocate(uint64_t bytes, const char* name, char* err, size_t err_bytes) {
  void* pointer = nullptr;
  const cudaError_t e = cudaMalloc(&pointer, bytes == 0 ? 1 : bytes);  // aligned to 256 and more
  if (e != cudaSuccess) {
    char where[160];
    snprintf(where, sizeof where, "allocating %llu bytes for %.80s",
             static_cast<unsigned long long>(bytes), name == nullptr ? "a buffer" : name);
    report(e, where, err, err_bytes);
    return nullptr;
  }
  allocations().push_back(pointer);
  return pointer;
}

static kvp_status write(void* device, const void* host, uint64_t bytes, char* err,
                        size_t err_bytes) {
  return report(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice), "copying to the device",
                err, err_bytes);
}

static kvp_status read(void* host, const void* device, uint64_t bytes, char* err,
                       size_t err_bytes) {
  return report(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost), "copying from the device",
                err, err_bytes);
}

// Errors are left for the next call that can report them; a lost device answers everything with
// one.
static void reset() {
  for (void* pointer : allocations()) cudaFree(pointer);
  allocations().clear();
}

static kvp_status synchronize(void* stream, char* err, size_t err_bytes) {
  const cudaError_t e = cudaStreamSynchronize(static_cast<cudaStream_t>(stream));
  if (e != cudaSuccess) return report(e, "waiting for the kernels", err, err_bytes);
  return report(cudaGetLastError(), "after the kernels", err, err_bytes);
}

const kvp_memory* platform_memory() {
  static const kvp_memory memory = {open, allocate, write, read, reset, synchronize, nullptr};
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
