// test_device.h - what the tests of the emulator share: a device, buffers on it, schedules, and
// what was reported.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "../mma/check.h"
#include "device.h"
#include "emulator.h"

namespace test {

struct Schedule {
  const char* policy = "round-robin";
  const char* copies = "eager";
  uint64_t seed = 1;
  uint32_t starved_warp = 0;
  uint32_t sm = 90;
};

// Every policy with every time at which copies land.
inline std::vector<Schedule> schedules(uint64_t seed) {
  std::vector<Schedule> all;
  for (const char* policy : {"round-robin", "random", "starve", "pct"}) {
    for (const char* copies : {"eager", "lazy", "random"}) {
      all.push_back({policy, copies, seed, static_cast<uint32_t>(seed % 3), 90});
    }
  }
  return all;
}

// Forgets everything and starts anew; the tests do not go on without a device.
inline void start(const Schedule& s = {}) {
  char err[300] = "";
  kvp_device device;
  const kvp_schedule schedule{sizeof schedule, s.seed, s.policy, s.copies, s.starved_warp, s.sm};
  simt::memory_table.reset();
  if (simt::emulator_table.configure(&schedule, err, sizeof err) != KVP_OK ||
      simt::memory_table.open(0, &device, err, sizeof err) != KVP_OK) {
    std::printf("FAIL the device opens: %s\n", err);
    std::exit(1);
  }
}

// Device memory, never written.
template <class T>
T* allocate(size_t count, const char* name) {
  char err[300];
  return static_cast<T*>(simt::memory_table.allocate(count * sizeof(T), name, err, sizeof err));
}
template <class T>
T* upload(const std::vector<T>& host, const char* name) {
  char err[300];
  T* device = allocate<T>(host.size(), name);
  simt::memory_table.write(device, host.data(), host.size() * sizeof(T), err, sizeof err);
  return device;
}
template <class T>
std::vector<T> download(const T* device, size_t count) {
  char err[300];
  std::vector<T> host(count);
  simt::memory_table.read(host.data(), device, count * sizeof(T), err, sizeof err);
  return host;
}

// first, first + 1, ...
inline std::vector<uint32_t> counting(size_t count, uint32_t first = 0) {
  std::vector<uint32_t> v(count);
  for (size_t i = 0; i < count; i++) v[i] = first + static_cast<uint32_t>(i);
  return v;
}

struct Report {
  std::string kind, text, file;
  uint32_t line, count;
};
inline std::vector<Report> reports() {
  std::vector<Report> all;
  for (uint32_t i = 0; i < simt::emulator_table.report_count(); i++) {
    kvp_report r;
    simt::emulator_table.report(i, &r);
    all.push_back({r.kind, r.text, r.file, r.line, r.count});
  }
  return all;
}

// Line `number` of a source file, from 1; empty if there is none.
inline std::string source_line(const char* path, uint32_t number) {
  std::ifstream file(path);
  std::string line;
  for (uint32_t i = 0; i < number; i++) {
    if (!std::getline(file, line)) return "";
  }
  return number ? line : "";
}
inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace test
