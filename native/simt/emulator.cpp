// emulator.cpp - see emulator.h.
#include "emulator.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>

#include "arena.h"
#include "launch.h"
#include "machine.h"
#include "report.h"
#include "schedule.h"

namespace simt {
namespace {

__attribute__((format(printf, 4, 5))) kvp_status fail(char* err, size_t err_bytes,
                                                      kvp_status status, const char* pattern, ...) {
  if (err == nullptr || err_bytes == 0) return status;
  va_list values;
  va_start(values, pattern);
  std::vsnprintf(err, err_bytes, pattern, values);
  va_end(values);
  return status;
}

// Kernels are compiled for x86-64-v3; an older processor would end the process with SIGILL.
bool processor_suffices() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
}

kvp_status open(uint32_t ordinal, kvp_device* device, char* err, size_t err_bytes) {
  if (ordinal != 0) {
    return fail(err, err_bytes, KVP_INVALID, "open: device %u, the emulator has device 0 only",
                ordinal);
  }
  if (!processor_suffices()) {
    return fail(err, err_bytes, KVP_DEVICE,
                "open: this processor lacks AVX2, FMA, BMI2 or F16C, which emulated kernels need");
  }
  const std::string error = arena_open();
  if (!error.empty()) return fail(err, err_bytes, KVP_DEVICE, "%s", error.c_str());
  const Architecture& a = *find_architecture(machine.config.sm);
  if (device != nullptr) {
    std::memset(device, 0, sizeof *device);
    std::snprintf(device->name, sizeof device->name, "emulated sm_%u (limits of %s)", a.sm,
                  a.device);
    std::snprintf(device->driver, sizeof device->driver, "emulated");
    device->sm = a.sm;
    device->multiprocessors = a.multiprocessors;
  }
  return KVP_OK;
}

void* allocate(uint64_t bytes, const char* name, char* err, size_t err_bytes) {
  const std::string error = arena_open();
  if (!error.empty()) {
    fail(err, err_bytes, KVP_DEVICE, "%s", error.c_str());
    return nullptr;
  }
  void* p = arena_allocate(bytes, name);
  if (p == nullptr) {
    fail(err, err_bytes, KVP_DEVICE,
         "allocate: %llu bytes for %s do not fit into the %llu MiB of "
         "the emulated device",
         static_cast<unsigned long long>(bytes), name ? name : "a buffer",
         static_cast<unsigned long long>(arena_span >> 20));
    return nullptr;
  }
  return p;
}

kvp_status check_range(const char* what, const void* device, uint64_t bytes, char* err,
                       size_t err_bytes) {
  if (bytes == 0 || arena_contains(reinterpret_cast<uint64_t>(device), bytes)) return KVP_OK;
  return fail(err, err_bytes, KVP_INVALID,
              "%s: %llu bytes at %s, a range of one buffer is required", what,
              static_cast<unsigned long long>(bytes),
              describe_address(reinterpret_cast<uint64_t>(device)).c_str());
}

kvp_status write(void* device, const void* host, uint64_t bytes, char* err, size_t err_bytes) {
  const kvp_status status = check_range("write", device, bytes, err, err_bytes);
  if (status != KVP_OK || bytes == 0) return status;
  std::memcpy(device, host, bytes);
  arena_mark(reinterpret_cast<uint64_t>(device), bytes, Region::initialised);
  return KVP_OK;
}

kvp_status read(void* host, const void* device, uint64_t bytes, char* err, size_t err_bytes) {
  const kvp_status status = check_range("read", device, bytes, err, err_bytes);
  if (status == KVP_OK && bytes != 0) std::memcpy(host, device, bytes);
  return status;
}

void reset() {
  arena_reset();
  reports_clear();
}

kvp_status synchronize(void*, char* err, size_t err_bytes) {
  if (stream_error().empty()) return KVP_OK;
  return fail(err, err_bytes, KVP_DEVICE, "%s", stream_error().c_str());
}

void mark(void* device, uint64_t bytes, int state) {
  const Region region = state == 0   ? Region::unwritten
                        : state == 1 ? Region::initialised
                                     : Region::redzone;
  arena_mark(reinterpret_cast<uint64_t>(device), bytes, region);
}

// The enumerator whose name this is; false if there is none.
template <class Enum, size_t N>
bool find_name(const char* name, const char* const (&names)[N], Enum* found) {
  for (size_t i = 0; i < N; i++) {
    if (std::strcmp(name, names[i]) != 0) continue;
    *found = static_cast<Enum>(i);
    return true;
  }
  return false;
}

kvp_status configure(const kvp_schedule* schedule, char* err, size_t err_bytes) {
  if (schedule == nullptr || schedule->struct_bytes < sizeof(kvp_schedule)) {
    return fail(err, err_bytes, KVP_INVALID, "schedule: struct_bytes %u, at least %zu is required",
                schedule ? schedule->struct_bytes : 0, sizeof(kvp_schedule));
  }
  Config config;
  config.seed = schedule->seed;
  config.starved_warp = schedule->starved_warp;
  config.sm = schedule->sm ? schedule->sm : 90;
  const char* policy = schedule->policy ? schedule->policy : "round-robin";
  const char* copies = schedule->copies ? schedule->copies : "eager";
  if (!find_name(policy, kPolicyNames, &config.policy)) {
    return fail(err, err_bytes, KVP_INVALID,
                "schedule.policy: '%.40s', one of round-robin, random, starve, pct is required",
                policy);
  }
  if (!find_name(copies, kCopiesNames, &config.copies)) {
    return fail(err, err_bytes, KVP_INVALID,
                "schedule.copies: '%.40s', one of eager, lazy, random is required", copies);
  }
  if (find_architecture(config.sm) == nullptr) {
    return fail(err, err_bytes, KVP_INVALID, "schedule.sm: %u, one of 80, 89, 90 is required",
                config.sm);
  }
  machine.config = config;
  choose_models();
  machine.launches = 0;
  machine.hash = 0xcbf29ce484222325u;  // FNV-1a offset basis
  machine.switches = 0;
  reports_clear();
  return KVP_OK;
}

uint32_t report_count() { return static_cast<uint32_t>(reports_resolved().size()); }

kvp_status report_at(uint32_t index, kvp_report* out) {
  const auto& reports = reports_resolved();
  if (out == nullptr || index >= reports.size()) return KVP_INVALID;
  const Report& r = reports[index];
  *out = {r.kind, r.text.c_str(), r.file.c_str(), r.line, r.count};
  return KVP_OK;
}

uint64_t schedule_hash() { return machine.hash; }

}  // namespace

const kvp_memory memory_table = {open, allocate, write, read, reset, synchronize, mark};
const kvp_emulator emulator_table = {kChecked, configure, report_count, report_at, schedule_hash};

}  // namespace simt
