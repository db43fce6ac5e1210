// stream_kernel.cpp: the C++ template behind streams, for the tests of the law of streams. Every
// stream is a thread that works through a queue. -DFAULT=DEFAULT_STREAM: quantize does not look at
// its stream; -DFAULT=DECODES_AT_ONCE: decode runs before it returns, without waiting for the
// stream. Compiled by fuzz/conform/conform.test.ts; never part of the product.
#define kvproof_kernel template_kernel
#include "../templates/kernel.cpp"
#undef kvproof_kernel
extern "C" const kvp_kernel* kvproof_kernel(void);

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "../stream_abi.h"

namespace {
enum Fault { NONE, DEFAULT_STREAM, DECODES_AT_ONCE };

class Stream {
 public:
  Stream() : worker_([this] { work(); }) {}
  ~Stream() {
    enqueue([this] { ended_ = true; });
    worker_.join();
  }
  void enqueue(std::function<void()> task) {
    const std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return tasks_.empty(); });
  }

 private:
  void work() {
    while (!ended_) {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return !tasks_.empty(); });
      const std::function<void()> task = tasks_.front();
      lock.unlock();
      task();
      lock.lock();
      tasks_.pop_front();
      changed_.notify_all();
    }
  }

  bool ended_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::thread worker_;
};

std::vector<std::unique_ptr<Stream>> streams;
std::vector<void*> blocks;

kvp_status open_host(uint32_t, kvp_device* device, char*, size_t) {
  std::snprintf(device->name, sizeof device->name, "threads");
  std::snprintf(device->driver, sizeof device->driver, "none");
  return KVP_OK;
}

void* allocate(uint64_t bytes, const char*, char*, size_t) {
  blocks.push_back(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  return blocks.back();
}

kvp_status copy(void* to, const void* from, uint64_t bytes, char*, size_t) {
  std::memcpy(to, from, bytes);
  return KVP_OK;
}

void reset() {
  streams.clear();
  for (void* block : blocks) std::free(block);
  blocks.clear();
}

kvp_status synchronize(void* stream, char*, size_t) {
  if (stream != nullptr) static_cast<Stream*>(stream)->wait();
  return KVP_OK;
}

kvp_status open_stream(void** stream, char*, size_t) {
  streams.push_back(std::make_unique<Stream>());
  *stream = streams.back().get();
  return KVP_OK;
}

kvp_status copy_later(void* to, const void* from, uint64_t bytes, uint32_t delay_ms, void* stream,
                      char*, size_t) {
  static_cast<Stream*>(stream)->enqueue([=] {
    std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
    std::memcpy(to, from, bytes);
  });
  return KVP_OK;
}

using Stage = kvp_status (*)(const kvp_problem*, const kvp_buffers*, void*, char*, size_t);

kvp_status on_stream(Stage stage, bool at_once, const kvp_problem* p, const kvp_buffers* b,
                     void* stream, char* err, size_t size) {
  if (stream == nullptr || at_once) return stage(p, b, nullptr, err, size);
  if (const kvp_status status = supports(p, err, size)) return status;
  const std::vector<int64_t> tokens(p->tokens, p->tokens + p->requests);
  static_cast<Stream*>(stream)->enqueue([=, own = *p, buffers = *b]() mutable {
    own.tokens = tokens.data();
    stage(&own, &buffers, nullptr, nullptr, 0);
  });
  return KVP_OK;
}

kvp_status stream_quantize(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                           size_t size) {
  return on_stream(quantize, FAULT == DEFAULT_STREAM, p, b, stream, err, size);
}

kvp_status stream_decode(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                         size_t size) {
  return on_stream(decode, FAULT == DECODES_AT_ONCE, p, b, stream, err, size);
}

const kvp_memory memory = {open_host, allocate, copy, copy, reset, synchronize, nullptr};
const kvp_streams stream_table = {sizeof(kvp_streams), open_stream, copy_later};
}  // namespace

const kvp_kernel* kvproof_kernel(void) {
  static kvp_kernel kernel = *template_kernel();
  kernel.quantize = stream_quantize;
  kernel.decode = stream_decode;
  kernel.memory = &memory;
  return &kernel;
}

const kvp_streams* kvproof_streams(void) { return &stream_table; }
