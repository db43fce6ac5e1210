// cuda_memory.h - kvp_memory and kvp_streams over the CUDA runtime, for a kernel library in CUDA:
// one device of this process, its allocations, its streams, its errors.
//
// Every error becomes one sentence with CUDA's own text. No driver (35) and no device (100) are
// expected on most machines and say so plainly. Link the runtime statically (nvcc's default), so
// that the library loads on a machine without CUDA.
#ifndef KVPROOF_CUDA_MEMORY_H
#define KVPROOF_CUDA_MEMORY_H

#include <cuda_runtime.h>
#include <stdio.h>

#include <chrono>
#include <thread>
#include <vector>

#include "stream_abi.h"

namespace kvproof_cuda {

// What reset() ends: everything since open().
struct Owned {
  std::vector<void*> allocations;
  std::vector<cudaStream_t> streams;
};

inline Owned& owned() {
  static Owned all;
  return all;
}

inline kvp_status report(cudaError_t error, const char* where, char* err, size_t err_bytes) {
  if (error == cudaSuccess) return KVP_OK;
  if (err != nullptr && err_bytes > 0) {
    snprintf(err, err_bytes, "%s: %s (%s)", where, cudaGetErrorString(error),
             cudaGetErrorName(error));
  }
  return KVP_DEVICE;
}

inline kvp_status open(uint32_t ordinal, kvp_device* device, char* err, size_t err_bytes) {
  int count = 0;
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted == cudaErrorInsufficientDriver) {
    snprintf(err, err_bytes, "no NVIDIA driver on this machine, or one older than CUDA %d.%d",
             CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    return KVP_DEVICE;
  }
  if (counted == cudaErrorNoDevice || count == 0) {
    snprintf(err, err_bytes, "no CUDA device answers on this machine (%s)",
             counted == cudaSuccess ? "none is visible" : cudaGetErrorString(counted));
    return KVP_DEVICE;
  }
  if (counted != cudaSuccess) return report(counted, "cudaGetDeviceCount", err, err_bytes);
  if (ordinal >= static_cast<uint32_t>(count)) {
    snprintf(err, err_bytes, "this machine has %d CUDA device%s, numbered from 0", count,
             count == 1 ? "" : "s");
    return KVP_DEVICE;
  }
  cudaError_t e = cudaSetDevice(static_cast<int>(ordinal));
  if (e != cudaSuccess) return report(e, "cudaSetDevice", err, err_bytes);
  cudaDeviceProp properties;
  e = cudaGetDeviceProperties(&properties, static_cast<int>(ordinal));
  if (e != cudaSuccess) return report(e, "cudaGetDeviceProperties", err, err_bytes);
  int driver = 0;
  e = cudaDriverGetVersion(&driver);
  if (e != cudaSuccess) return report(e, "cudaDriverGetVersion", err, err_bytes);
  snprintf(device->name, sizeof device->name, "%s", properties.name);
  snprintf(device->driver, sizeof device->driver, "CUDA %d.%d", driver / 1000, driver % 1000 / 10);
  device->sm = static_cast<uint32_t>(properties.major * 10 + properties.minor);
  device->multiprocessors = static_cast<uint32_t>(properties.multiProcessorCount);
  return KVP_OK;
}

inline void* allocate(uint64_t bytes, const char* name, char* err, size_t err_bytes) {
  void* pointer = nullptr;
  const cudaError_t e = cudaMalloc(&pointer, bytes == 0 ? 1 : bytes);  // aligned to 256 and more
  if (e != cudaSuccess) {
    cudaGetLastError();  // not sticky, and reported here: no later call is to blame for it
    char where[160];
    snprintf(where, sizeof where, "allocating %llu bytes for %.80s",
             static_cast<unsigned long long>(bytes), name == nullptr ? "a buffer" : name);
    report(e, where, err, err_bytes);
    return nullptr;
  }
  owned().allocations.push_back(pointer);
  return pointer;
}

inline kvp_status write(void* device, const void* host, uint64_t bytes, char* err,
                        size_t err_bytes) {
  return report(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice), "copying to the device",
                err, err_bytes);
}

inline kvp_status read(void* host, const void* device, uint64_t bytes, char* err,
                       size_t err_bytes) {
  return report(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost), "copying from the device",
                err, err_bytes);
}

// Errors are left for the next call that can report them; a lost device answers everything with
// one.
inline void reset() {
  for (cudaStream_t stream : owned().streams) cudaStreamDestroy(stream);
  for (void* pointer : owned().allocations) cudaFree(pointer);
  owned() = Owned{};
}

inline kvp_status synchronize(void* stream, char* err, size_t err_bytes) {
  const cudaError_t e = cudaStreamSynchronize(static_cast<cudaStream_t>(stream));
  if (e != cudaSuccess) return report(e, "waiting for the kernels", err, err_bytes);
  return report(cudaGetLastError(), "after the kernels", err, err_bytes);
}

inline kvp_status open_stream(void** stream, char* err, size_t err_bytes) {
  cudaStream_t opened = nullptr;
  const cudaError_t e = cudaStreamCreateWithFlags(&opened, cudaStreamNonBlocking);
  if (e == cudaSuccess) owned().streams.push_back(opened);
  *stream = opened;
  return report(e, "opening a stream", err, err_bytes);
}

// From device to device, since a copy from pageable host memory waits for the stream.
inline kvp_status copy_later(void* to, const void* from, uint64_t bytes, uint32_t delay_ms,
                             void* stream, char* err, size_t err_bytes) {
  const auto wait = [](void* ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(reinterpret_cast<uintptr_t>(ms)));
  };
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  cudaError_t e = cudaSuccess;
  if (delay_ms > 0) {
    e = cudaLaunchHostFunc(on, wait, reinterpret_cast<void*>(static_cast<uintptr_t>(delay_ms)));
  }
  if (e == cudaSuccess) e = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, on);
  return report(e, "copying on a stream", err, err_bytes);
}

inline const kvp_memory* memory() {
  static const kvp_memory table = {open, allocate, write, read, reset, synchronize, nullptr};
  return &table;
}

inline const kvp_streams* streams() {
  static const kvp_streams table = {sizeof(kvp_streams), open_stream, copy_later};
  return &table;
}

}  // namespace kvproof_cuda

#endif
