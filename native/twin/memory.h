// memory.h - memory of a batch of cases: taken piece by piece, given back all at once.
//
// On a GPU chunks come from the runtime and are kept from batch to batch; they are this library's
// own, because the host frees whatever a kernel's memory table has handed out after each of its
// runs. On a CPU they come from that table, since an emulator knows its own memory only.
#pragma once
#include <stdlib.h>

#include <string>
#include <vector>

#include "../plugin/kernel_abi.h"
#include "loop.h"

namespace kvproof_reference {

struct Failure {
  kvp_status status;
  std::string text;
};

#ifdef __CUDACC__
inline void require(cudaError_t e, const char* what) {
  if (e != cudaSuccess) throw Failure{KVP_DEVICE, std::string(what) + ": " + cudaGetErrorString(e)};
}
#endif

class Memory {
 public:
  // Before a batch. On a CPU the host has reset the kernel's memory meanwhile.
  void begin(const kvp_kernel* kernel) {
    kernel_ = kernel;
#ifndef __CUDACC__
    release();
#endif
    kept_ = Position{};
    rewind();
  }
  // What was taken so far stays until the end of the batch; rewind() gives back the rest.
  void keep() { kept_ = now_; }
  void rewind() {
    now_ = kept_;
    used_ = 0;
  }
  uint64_t used() const { return used_; }

  // Aligned to 256 bytes; contents are whatever was there.
  uint8_t* take(uint64_t bytes) {
    bytes = (bytes + 255) / 256 * 256;
    while (now_.left < bytes) {
      if (now_.next == chunks_.size())
        chunks_.push_back(new_chunk(bytes > kChunk ? bytes : kChunk));
      now_.at = chunks_[now_.next].data;
      now_.left = chunks_[now_.next++].bytes;
    }
    uint8_t* taken = now_.at;
    now_.at += bytes;
    now_.left -= bytes;
    used_ += bytes;
    return taken;
  }
  template <typename T>
  T* array(int64_t count) {
    return reinterpret_cast<T*>(take(static_cast<uint64_t>(count) * sizeof(T)));
  }

  void release() {
#ifdef __CUDACC__
    for (const Chunk& chunk : chunks_) cudaFree(chunk.data);
#else
    if (memory() != nullptr) memory()->reset();
    for (const Chunk& chunk : chunks_) {
      if (memory() == nullptr) free(chunk.data);
    }
#endif
    chunks_.clear();
    now_ = kept_ = Position{};
  }

 private:
  static constexpr uint64_t kChunk = uint64_t{64} << 20;
  struct Chunk {
    uint8_t* data;
    uint64_t bytes;
  };
  // In the chunk before `next`: what is left of it.
  struct Position {
    size_t next = 0;
    uint8_t* at = nullptr;
    uint64_t left = 0;
  };

#ifdef __CUDACC__
  Chunk new_chunk(uint64_t bytes) {
    void* data = nullptr;
    require(cudaMalloc(&data, bytes), "memory for cases");
    return {static_cast<uint8_t*>(data), bytes};
  }
#else
  const kvp_memory* memory() const { return kernel_ == nullptr ? nullptr : kernel_->memory; }
  Chunk new_chunk(uint64_t bytes) {
    char text[240] = "no memory left";
    void* data = memory() == nullptr ? aligned_alloc(256, bytes)
                                     : memory()->allocate(bytes, "cases", text, sizeof text);
    if (data == nullptr) throw Failure{KVP_DEVICE, std::string("memory for cases: ") + text};
    return {static_cast<uint8_t*>(data), bytes};
  }
#endif

  const kvp_kernel* kernel_ = nullptr;
  std::vector<Chunk> chunks_;
  Position now_, kept_;
  uint64_t used_ = 0;
};

inline void upload(Stream stream, void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return;
#ifdef __CUDACC__
  require(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "tables of a case");
#else
  (void)stream;
  memcpy(to, from, bytes);
#endif
}

inline void clear(Stream stream, void* at, uint64_t bytes) {
  if (bytes == 0) return;
#ifdef __CUDACC__
  require(cudaMemsetAsync(at, 0, bytes, stream), "clearing");
#else
  (void)stream;
  memset(at, 0, bytes);
#endif
}

// Waits for all streams.
inline void download(void* to, const void* from, uint64_t bytes) {
  if (bytes == 0 || to == nullptr) return;
#ifdef __CUDACC__
  require(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "reading a case");
#else
  memcpy(to, from, bytes);
#endif
}

inline void synchronize() {
#ifdef __CUDACC__
  require(cudaDeviceSynchronize(), "waiting for cases");
#endif
}

}  // namespace kvproof_reference
