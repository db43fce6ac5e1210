// symbol.h - from an address of this library's code to file and line, by addr2line.
//
// One process for all addresses at once, started only when the host reads reports. Without
// addr2line or debug information a place is "library+0xoffset" and line 0.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

// The first byte of the library: defined by the linker, for each library anew.
extern "C" const char __ehdr_start __attribute__((visibility("hidden")));

namespace simt {

struct SourceLine {
  std::string file;
  uint32_t line = 0;
};

// Adds the line of every address that is not known yet.
void symbols_load(const std::vector<uint64_t>& addresses);
const SourceLine& symbol(uint64_t address);

// The name of the function that starts at an address, without its arguments.
std::string symbol_name(uint64_t address);

// A path as reports print it: from the last "native/" on, else its base name.
std::string short_path(const char* path);

// First and last address of this library in memory.
bool in_library(uint64_t address);
inline uint64_t library_start() { return reinterpret_cast<uint64_t>(&__ehdr_start); }

}  // namespace simt
