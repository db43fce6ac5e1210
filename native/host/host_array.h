// host_array.h - arrays of a problem in host memory, of which a kernel may read no element too
// many.
//
// A kernel reads kvp_problem.tokens and .kept itself, on the host, where no redzone and no emulator
// looks. So an array ends where its last page ends, and the page behind it cannot be read: one
// element too far ends the process, which is a finding. What lies before it on its first page is a
// number that makes no sense as a length.
#ifndef KVPROOF_HOST_HOST_ARRAY_H
#define KVPROOF_HOST_HOST_ARRAY_H

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

namespace kvproof {

template <typename T>
class GuardedAllocator {
 public:
  using value_type = T;

  GuardedAllocator() = default;
  template <typename U>
  explicit GuardedAllocator(const GuardedAllocator<U>&) {}

  T* allocate(size_t count) {
    const size_t page = page_bytes();
    if (count > (SIZE_MAX / 2 - page) / sizeof(T)) throw std::bad_alloc();
    const size_t data = pages_bytes(count);
    void* mapped =
        mmap(nullptr, data + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    auto* first = static_cast<uint8_t*>(mapped);
    if (mprotect(first + data, page, PROT_NONE) != 0) {
      munmap(mapped, data + page);
      throw std::bad_alloc();
    }
    const size_t before = data - count * sizeof(T);
    std::memset(first, kBefore, before);
    return reinterpret_cast<T*>(first + before);
  }

  void deallocate(T* array, size_t count) noexcept {
    const size_t data = pages_bytes(count);
    munmap(reinterpret_cast<uint8_t*>(array + count) - data, data + page_bytes());
  }

  friend bool operator==(const GuardedAllocator&, const GuardedAllocator&) { return true; }
  friend bool operator!=(const GuardedAllocator&, const GuardedAllocator&) { return false; }

 private:
  static constexpr int kBefore = 0x80;

  static size_t page_bytes() {
    static const auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return bytes;
  }
  static size_t pages_bytes(size_t count) {
    const size_t page = page_bytes();
    return (count * sizeof(T) + page - 1) / page * page;
  }
};

// Lengths in tokens. It must be made in its final size: what is reserved is not guarded.
using Lengths = std::vector<int64_t, GuardedAllocator<int64_t>>;

}  // namespace kvproof

#endif
