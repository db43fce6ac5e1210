// sticky_error.cu - our CUDA kernels, except that cases with three requests store far outside of
// any allocation after they have decoded: an error that the next call of the runtime reports and
// that every call after it repeats, until the process ends. For campaigns on a GPU; built by hand:
//
//   nvcc -shared -Xcompiler -fPIC -o libsticky_error.so native/plugin/testdata/sticky_error.cu -ldl
//   KVPROOF_CUDA_LIBRARY=build/Release/libkvproof_cuda.so kvproof fuzz --kernel
//   lib:./libsticky_error.so
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <stdlib.h>

#include "../kernel_abi.h"

static const kvp_kernel* real_kernel() {
  static const kvp_kernel* kernel = [] {
    const char* path = getenv("KVPROOF_CUDA_LIBRARY");
    void* image = path == nullptr ? nullptr : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void* symbol = image == nullptr ? nullptr : dlsym(image, "kvproof_kernel");
    return symbol == nullptr ? nullptr : reinterpret_cast<const kvp_kernel* (*)()>(symbol)();
  }();
  return kernel;
}

__global__ void store(int* at) { *at = 1; }

static kvp_status decode(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                         char* err, size_t err_bytes) {
  const kvp_status status = real_kernel()->decode(problem, buffers, stream, err, err_bytes);
  if (problem->requests == 3) {
    store<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(
        reinterpret_cast<int*>(uint64_t{1} << 60));
  }
  return status;
}

extern "C" const kvp_kernel* kvproof_kernel() {
  if (real_kernel() == nullptr) return nullptr;
  static kvp_kernel kernel = [] {
    kvp_kernel changed = *real_kernel();
    changed.decode = decode;
    return changed;
  }();
  return &kernel;
}
