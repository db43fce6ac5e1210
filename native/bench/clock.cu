// clock.cu - memory, random inputs, graphs with a clock in them, and the ceilings of the memory.
#include "clock.h"

#include <algorithm>

namespace kvproof_bench_library {

// More than twice the second level cache of any GPU that the kernels run on.
constexpr uint64_t flush_bytes = 256ull << 20;
constexpr uint64_t ceiling_bytes = 2ull << 30;

static std::vector<void*>& allocations() {
  static std::vector<void*> pointers;
  return pointers;
}

kvp_status told(const Answer& answer, char* err, size_t err_bytes) {
  if (!answer.ok() && err != nullptr && err_bytes > 0) {
    snprintf(err, err_bytes, "%s", answer.text.c_str());
  }
  return answer.status;
}

Answer allocate(void** pointer, uint64_t bytes, const char* what) {
  const cudaError_t e = cudaMalloc(pointer, bytes == 0 ? 16 : bytes);
  if (e != cudaSuccess) {
    cudaGetLastError();
    return answer_of(e, (std::string(what) + " of " + std::to_string(bytes) + " bytes").c_str());
  }
  allocations().push_back(*pointer);
  return {};
}

void free_all() {
  for (void* pointer : allocations()) cudaFree(pointer);
  allocations().clear();
}

// splitmix64 (Steele, Lea, Flood 2014).
__device__ uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// The sum of four uniform numbers of 16 bits has a variance of 4 / 12.
__global__ void fill_kernel(uint16_t* words, uint64_t count, float deviation, uint64_t seed) {
  const uint64_t stride = static_cast<uint64_t>(gridDim.x) * blockDim.x;
  for (uint64_t i = blockIdx.x * static_cast<uint64_t>(blockDim.x) + threadIdx.x; i < count;
       i += stride) {
    const uint64_t r = mixed(seed * 0x2545f4914f6cdd1dull + i);
    const float sum =
        static_cast<float>((r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48));
    const float value = (sum * (1.0f / 65536) - 2.0f) * 1.7320508f * deviation;
    words[i] = __half_as_ushort(__float2half_rn(value));
  }
}

Answer fill_random(uint16_t* words, uint64_t count, float deviation, uint64_t seed) {
  fill_kernel<<<1024, 256>>>(words, count, deviation, seed);
  const cudaError_t e = cudaGetLastError();
  return answer_of(e == cudaSuccess ? cudaDeviceSynchronize() : e, "filling inputs");
}

cudaStream_t bench_stream() {
  static cudaStream_t stream = [] {
    cudaStream_t made = nullptr;
    cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking);
    return made;
  }();
  return stream;
}

// Two events as nodes of the graph, before and after the work.
static Answer capture(const Work& work, cudaEvent_t begin, cudaEvent_t end, cudaGraphExec_t* out) {
  cudaStream_t stream = bench_stream();
  cudaError_t e = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  if (e != cudaSuccess) return answer_of(e, "beginning a graph");
  e = cudaEventRecordWithFlags(begin, stream, cudaEventRecordExternal);
  Answer worked = e == cudaSuccess ? work(stream) : answer_of(e, "an event of a graph");
  if (worked.ok()) {
    worked = answer_of(cudaEventRecordWithFlags(end, stream, cudaEventRecordExternal),
                       "an event of a graph");
  }
  cudaGraph_t graph = nullptr;
  e = cudaStreamEndCapture(stream, &graph);
  if (worked.ok() && e != cudaSuccess) worked = answer_of(e, "ending a graph");
  if (worked.ok()) worked = answer_of(cudaGraphInstantiate(out, graph, 0), "making a graph");
  if (graph != nullptr) cudaGraphDestroy(graph);
  return worked;
}

// A block takes stretches of 16,384 (copy) and 32,768 bytes (read) that lie together, a thread
// keeps its loads on their way.
constexpr int ceiling_threads = 256;

__global__ void copy_kernel(uint4* to, const uint4* from, uint64_t count) {
  constexpr int loads = 4;
  constexpr uint64_t stretch = uint64_t{ceiling_threads} * loads;
  for (uint64_t first = blockIdx.x * stretch; first < count; first += gridDim.x * stretch) {
    uint4 x[loads];
#pragma unroll
    for (int j = 0; j < loads; j++) {
      x[j] = __ldcs(from + first + j * ceiling_threads + threadIdx.x);
    }
#pragma unroll
    for (int j = 0; j < loads; j++) {
      __stcs(to + first + j * ceiling_threads + threadIdx.x, x[j]);
    }
  }
}

__global__ void read_kernel(uint32_t* sink, const uint4* from, uint64_t count) {
  constexpr int loads = 8;
  constexpr uint64_t stretch = uint64_t{ceiling_threads} * loads;
  uint32_t seen = 0;
  for (uint64_t first = blockIdx.x * stretch; first < count; first += gridDim.x * stretch) {
    uint4 x[loads];
#pragma unroll
    for (int j = 0; j < loads; j++) {
      x[j] = __ldcs(from + first + j * ceiling_threads + threadIdx.x);
    }
#pragma unroll
    for (int j = 0; j < loads; j++) seen |= x[j].x ^ x[j].y ^ x[j].z ^ x[j].w;
  }
  if (seen == 0x9e3779b9 && sink != nullptr) *sink = seen;  // never: keeps the loads
}

static uint8_t* flush_buffer() {
  static uint8_t* buffer = [] {
    uint8_t* made = nullptr;
    if (cudaMalloc(&made, flush_bytes) != cudaSuccess) return made;
    cudaMemset(made, 1, flush_bytes);
    return made;
  }();
  return buffer;
}

static Answer replay(cudaGraphExec_t graph, cudaEvent_t begin, cudaEvent_t end, double* ms) {
  cudaStream_t stream = bench_stream();
  // Read and not written: dirty lines would be written back while the kernel runs.
  const auto flushed = reinterpret_cast<const uint4*>(flush_buffer());
  read_kernel<<<1024, ceiling_threads, 0, stream>>>(nullptr, flushed, flush_bytes / sizeof(uint4));
  cudaError_t e = cudaGetLastError();
  if (e == cudaSuccess) e = cudaGraphLaunch(graph, stream);
  if (e == cudaSuccess) e = cudaStreamSynchronize(stream);
  float elapsed = 0;
  if (e == cudaSuccess) e = cudaEventElapsedTime(&elapsed, begin, end);
  *ms = elapsed;
  return answer_of(e, "replaying a graph");
}

Answer time_work(const Work& work, uint32_t runs, double* ms) {
  if (flush_buffer() == nullptr) return {KVP_DEVICE, "no memory to flush the cache with"};
  cudaEvent_t begin, end;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  cudaGraphExec_t graph = nullptr;
  Answer answer = capture(work, begin, end, &graph);
  double warm = 0;
  for (int i = 0; i < 3 && answer.ok(); i++) answer = replay(graph, begin, end, &warm);
  for (uint32_t i = 0; i < runs && answer.ok(); i++) answer = replay(graph, begin, end, &ms[i]);
  if (graph != nullptr) cudaGraphExecDestroy(graph);
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return answer;
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n == 0 ? 0 : (values[(n - 1) / 2] + values[n / 2]) / 2;
}

Answer measure_ceilings(uint32_t runs, double* copy, double* read) {
  uint8_t *a = nullptr, *b = nullptr;
  Answer answer = allocate_elements(&a, ceiling_bytes, "the source of a copy");
  if (answer.ok()) answer = allocate_elements(&b, ceiling_bytes, "the target of a copy");
  if (answer.ok()) answer = answer_of(cudaMemset(a, 0, ceiling_bytes), "filling");
  const uint64_t count = ceiling_bytes / sizeof(uint4);
  const auto from = reinterpret_cast<const uint4*>(a);
  const auto to = reinterpret_cast<uint4*>(b);
  std::vector<double> ms(runs);
  const auto best = [&](const Work& work, double bytes, double* gbs) {
    if (answer.ok()) answer = time_work(work, runs, ms.data());
    *gbs = answer.ok() ? bytes / median_of(ms) / 1e6 : 0;
  };
  int multiprocessors = 0, device = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  // The best of several grid sizes: none is the best on every card.
  for (int blocks : {2, 4, 8, 32}) {
    double gbs = 0;
    best(
        [&](cudaStream_t s) {
          copy_kernel<<<multiprocessors * blocks, ceiling_threads, 0, s>>>(to, from, count);
          return answer_of(cudaGetLastError(), "copying");
        },
        2.0 * ceiling_bytes, &gbs);
    *copy = std::max(blocks == 2 ? 0.0 : *copy, gbs);
    best(
        [&](cudaStream_t s) {
          read_kernel<<<multiprocessors * blocks, ceiling_threads, 0, s>>>(
              reinterpret_cast<uint32_t*>(b), from, count);
          return answer_of(cudaGetLastError(), "reading");
        },
        1.0 * ceiling_bytes, &gbs);
    *read = std::max(blocks == 2 ? 0.0 : *read, gbs);
  }
  free_all();
  return answer;
}

}  // namespace kvproof_bench_library
