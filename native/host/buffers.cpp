// buffers.cpp - device buffers between redzones: poisoned before a run, compared after it. No
// arithmetic on values.
#include "buffers.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace kvproof {
namespace {

constexpr size_t kAlignment = 256;  // what the ABI promises for every allocation

// kvp_memory::mark states.
constexpr int kNeverWritten = 0;
constexpr int kInitialised = 1;
constexpr int kRedzone = 2;

thread_local std::vector<void*> host_allocations;

kvp_status host_open(uint32_t ordinal, kvp_device* device, char* err, size_t err_bytes) {
  if (ordinal != 0) {
    std::snprintf(err, err_bytes, "device %u: host memory has device 0 only", ordinal);
    return KVP_DEVICE;
  }
  std::snprintf(device->name, sizeof(device->name), "host");
  std::snprintf(device->driver, sizeof(device->driver), "host");
  device->sm = 0;
  device->multiprocessors = 0;
  return KVP_OK;
}

void* host_allocate(uint64_t bytes, const char* name, char* err, size_t err_bytes) {
  const uint64_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* block = std::aligned_alloc(kAlignment, rounded);
  if (block == nullptr) {
    std::snprintf(err, err_bytes, "%s: %llu bytes of host memory could not be allocated", name,
                  static_cast<unsigned long long>(bytes));
    return nullptr;
  }
  host_allocations.push_back(block);
  return block;
}

kvp_status host_copy(void* to, const void* from, uint64_t bytes, char*, size_t) {
  std::memcpy(to, from, bytes);
  return KVP_OK;
}

void host_reset() {
  for (void* block : host_allocations) std::free(block);
  host_allocations.clear();
}

kvp_status host_synchronize(void*, char*, size_t) { return KVP_OK; }

// Differs from byte to byte, so that a misplaced copy of a redzone does not match either.
// 0x9E3779B1 is 2^32 divided by the golden ratio (Knuth, TAOCP 3, 6.4): the top byte looks random.
uint8_t redzone_byte(uint8_t poison, uint64_t position) {
  const uint32_t mixed = static_cast<uint32_t>(position + 1) * 0x9E3779B1u;
  return static_cast<uint8_t>(poison ^ (mixed >> 24));
}

// Is the element that consists of this byte alone a NaN?
bool poison_is_nan(uint8_t poison, Element element) {
  // fp16: exponent bits 0x7C00, all set in the pattern pp if bits 2..6 of p are; bits 0..1 and the
  // second byte then make the fraction non-zero. fp32 (exponent 0x7F800000) and bf16 (0x7F80) take
  // bit 7 of the next byte too.
  const uint8_t exponent = element == Element::fp16 ? 0x7C : 0xFF;
  return (poison & exponent) == exponent;
}

}  // namespace

const kvp_memory& host_memory() {
  static const kvp_memory memory = {
      host_open, host_allocate, host_copy, host_copy, host_reset, host_synchronize, nullptr,
  };
  return memory;
}

Answer GuardedBuffer::allocate(const kvp_memory& memory, const char* name, uint64_t bytes,
                               const void* initial, uint8_t poison, uint64_t skipped) {
  memory_ = &memory;
  skipped_ = skipped;
  name_ = name;
  bytes_ = bytes;
  poison_ = poison;
  input_ = initial != nullptr;

  before_.resize(bytes + 2 * kRedzoneBytes);
  for (uint64_t i = 0; i < kRedzoneBytes; ++i) {
    before_[i] = redzone_byte(poison, i);
    before_[kRedzoneBytes + bytes + i] = redzone_byte(poison, kRedzoneBytes + i);
  }
  if (bytes != 0 && input_) std::memcpy(before_.data() + kRedzoneBytes, initial, bytes);
  if (bytes != 0 && !input_) std::memset(before_.data() + kRedzoneBytes, poison, bytes);

  char text[1024] = {};
  void* block = memory.allocate(skipped + before_.size(), name, text, sizeof(text) - 1);
  if (block == nullptr) {
    const std::string why = text[0] == '\0' ? "no memory left" : text;
    return Answer{KVP_DEVICE, name_ + ": " + std::to_string(bytes) + " bytes: " + why};
  }
  if (reinterpret_cast<uintptr_t>(block) % kAlignment != 0) {
    return Answer{KVP_DEVICE,
                  name_ + ": memory.allocate returned an address that is not a multiple of 256"};
  }
  block_ = static_cast<uint8_t*>(block) + skipped;
  const Answer written = ask("memory.write", [&](char* err, size_t err_bytes) {
    return memory.write(block_, before_.data(), before_.size(), err, err_bytes);
  });
  if (!written.ok() || memory.mark == nullptr) return written;
  memory.mark(block_ - skipped, skipped + kRedzoneBytes, kRedzone);
  if (bytes != 0) memory.mark(block_ + kRedzoneBytes, bytes, input_ ? kInitialised : kNeverWritten);
  memory.mark(block_ + kRedzoneBytes + bytes, kRedzoneBytes, kRedzone);
  return written;
}

void GuardedBuffer::forbid(const std::vector<Gap>& gaps) const {
  if (memory_->mark == nullptr) return;
  for (const Gap& gap : gaps) {
    memory_->mark(block_ + kRedzoneBytes + gap.first, gap.bytes, kNeverWritten);
  }
}

Answer GuardedBuffer::hide() {
  if (bytes_ == 0) return Answer{};
  char text[1024] = {};
  hidden_ = memory_->allocate(bytes_, name_.c_str(), text, sizeof(text) - 1);
  if (hidden_ == nullptr) return Answer{KVP_DEVICE, name_ + ": no memory for a second copy"};
  const std::vector<uint8_t> poison(bytes_, poison_);
  return ask("memory.write", [&](char* err, size_t err_bytes) {
    const uint8_t* initial = before_.data() + kRedzoneBytes;
    const kvp_status status = memory_->write(hidden_, initial, bytes_, err, err_bytes);
    if (status != KVP_OK) return status;
    return memory_->write(block_ + kRedzoneBytes, poison.data(), bytes_, err, err_bytes);
  });
}

Answer GuardedBuffer::arrive_later(const kvp_streams& streams, void* stream,
                                   uint32_t delay_ms) const {
  if (bytes_ == 0) return Answer{};
  return ask("streams.copy_later", [&](char* err, size_t err_bytes) {
    uint8_t* data = block_ + kRedzoneBytes;
    return streams.copy_later(data, hidden_, bytes_, delay_ms, stream, err, err_bytes);
  });
}

void GuardedBuffer::compare(uint64_t begin, uint64_t end, Violation::Kind kind,
                            std::vector<Violation>* violations) const {
  // The common case is equality, and memcmp() is many times faster than the loop that counts.
  if (end == begin ||
      std::memcmp(before_.data() + begin, after_.data() + begin, end - begin) == 0) {
    return;
  }
  uint64_t first = end;
  uint64_t count = 0;
  for (uint64_t i = begin; i < end; ++i) {
    if (before_[i] == after_[i]) continue;
    first = std::min(first, i);
    ++count;
  }
  const int64_t offset = static_cast<int64_t>(first) - static_cast<int64_t>(kRedzoneBytes);
  violations->push_back(Violation{name_, kind, offset, count});
}

Answer GuardedBuffer::inspect(std::vector<Violation>* violations) {
  after_.resize(before_.size());
  const Answer answer = ask("memory.read", [&](char* err, size_t err_bytes) {
    return memory_->read(after_.data(), block_, after_.size(), err, err_bytes);
  });
  if (!answer.ok()) return answer;
  const uint64_t data_end = kRedzoneBytes + bytes_;
  compare(0, kRedzoneBytes, Violation::Kind::redzone, violations);
  if (input_) compare(kRedzoneBytes, data_end, Violation::Kind::input_changed, violations);
  compare(data_end, data_end + kRedzoneBytes, Violation::Kind::redzone, violations);
  return answer;
}

Answer GuardedBuffer::freeze(std::vector<Violation>* violations) {
  const Answer answer = inspect(violations);
  // What was damaged already is not reported a second time by the next inspect().
  before_ = after_;
  input_ = true;
  return answer;
}

void GuardedBuffer::find_unwritten(Element type, std::vector<Violation>* violations) const {
  if (!poison_is_nan(poison_, type)) return;
  const uint64_t element_bytes = type == Element::fp32 ? 4 : 2;
  uint64_t first = bytes_;
  uint64_t count = 0;
  for (uint64_t i = 0; i + element_bytes <= bytes_; i += element_bytes) {
    const uint8_t* element = data() + i;
    if (!std::all_of(element, element + element_bytes,
                     [this](uint8_t b) { return b == poison_; })) {
      continue;
    }
    first = std::min(first, i);
    count += element_bytes;
  }
  if (count == 0) return;
  violations->push_back(
      Violation{name_, Violation::Kind::unwritten, static_cast<int64_t>(first), count});
}

}  // namespace kvproof
