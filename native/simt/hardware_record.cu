// hardware_record.cu - a tool, not part of any build: prints what a GPU answers to
// hardware_cases.h.
//
//   nvcc -std=c++20 -arch=sm_90a -fmad=false -ftz=false -prec-div=true -prec-sqrt=true
//        --expt-relaxed-constexpr native/simt/hardware_record.cu -o hardware_record
#include <cstdio>
#include <vector>

#include "hardware_cases.h"

int main() {
  cudaDeviceProp device;
  int driver = 0;
  if (cudaGetDeviceProperties(&device, 0) != cudaSuccess ||
      cudaDriverGetVersion(&driver) != cudaSuccess) {
    std::fprintf(stderr, "hardware_record: no GPU answers\n");
    return 3;
  }
  std::printf("%s, sm_%d%d, CUDA driver %d\n", device.name, device.major, device.minor, driver);
  uint32_t* out = nullptr;
  cudaMalloc(&out, hardware::out_words * 4);
  std::vector<uint32_t> host(hardware::out_words);
  for (const hardware::Group& group : hardware::groups) {
    cudaMemset(out, 0, hardware::out_words * 4);
    const dev::Status status = dev::launch(group.kernel, hardware::shape(), out);
    const cudaError_t error = cudaMemcpy(host.data(), out, host.size() * 4, cudaMemcpyDeviceToHost);
    if (!status.ok() || error != cudaSuccess) {
      std::fprintf(stderr, "%s: %s %s\n", group.name, status.text, cudaGetErrorString(error));
      return 3;
    }
    std::printf("%s %016llx\n", group.name,
                static_cast<unsigned long long>(hardware::hash(host.data())));
  }
  return 0;
}
