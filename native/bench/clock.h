// clock.h - what every bench shares: memory of the device that is freed as a whole, random inputs,
// and a clock that stands inside of a CUDA graph, so that launches by the host are not timed.
#pragma once
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdio.h>

#include <functional>
#include <string>
#include <vector>

#include "bench_abi.h"

namespace kvproof_bench_library {

// A status and its sentence; empty if the status is KVP_OK.
struct Answer {
  kvp_status status = KVP_OK;
  std::string text;
  bool ok() const { return status == KVP_OK; }
};

inline Answer answer_of(cudaError_t error, const char* where) {
  if (error == cudaSuccess) return {};
  return {KVP_DEVICE, std::string(where) + ": " + cudaGetErrorString(error) + " (" +
                          cudaGetErrorName(error) + ")"};
}

// Calls a function of a kernel table.
template <class Call>
Answer ask(const Call& call) {
  char text[512] = "";
  const kvp_status status = call(text, sizeof text);
  return {status, status == KVP_OK ? "" : text};
}

// Hands an answer over to the caller of the C interface.
kvp_status told(const Answer& answer, char* err, size_t err_bytes);

// Everything allocated since the last free_all().
Answer allocate(void** pointer, uint64_t bytes, const char* what);
void free_all();
template <class T>
Answer allocate_elements(T** pointer, uint64_t count, const char* what) {
  return allocate(reinterpret_cast<void**>(pointer), count * sizeof(T), what);
}

// fp16 near normal with this standard deviation, the same for the same seed. Synchronises.
Answer fill_random(uint16_t* words, uint64_t count, float deviation, uint64_t seed);

cudaStream_t bench_stream();

// Records `work` into a graph once, replays it `runs` times and times each replay.
using Work = std::function<Answer(cudaStream_t)>;
Answer time_work(const Work& work, uint32_t runs, double* ms);

double median_of(std::vector<double> values);
Answer measure_ceilings(uint32_t runs, double* copy, double* read);

}  // namespace kvproof_bench_library
