// symbol.cpp - see symbol.h.
#include "symbol.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

// The first byte after the library, as __ehdr_start is the first of it.
extern "C" const char _end __attribute__((visibility("hidden")));

namespace simt {
namespace {

constexpr size_t kBatch = 200;  // addresses on one command line

std::map<uint64_t, SourceLine>& known() {
  static std::map<uint64_t, SourceLine> map;
  return map;
}

// Path of the library's file; of the executable where the emulator is linked into a test.
std::string library_path() {
  Dl_info info;
  if (dladdr(&__ehdr_start, &info) == 0 || info.dli_fname == nullptr) return "";
  if (access(info.dli_fname, R_OK) == 0) return info.dli_fname;
  char self[4096];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  return n > 0 ? std::string(self, static_cast<size_t>(n)) : "";
}

std::string quoted(const std::string& path) {
  std::string q = "'";
  for (char c : path) {
    if (c == '\'') {
      q += "'\\''";
    } else {
      q += c;
    }
  }
  return q + "'";
}

void erase_all(std::string& text, const char* part) {
  for (size_t at; (at = text.find(part)) != std::string::npos;) text.erase(at, strlen(part));
}

// "void kvproof::(anonymous namespace)::f<2>(int, char*)" as "kvproof::f<2>".
std::string without_arguments(std::string name) {
  name.resize(strcspn(name.c_str(), "\n"));
  erase_all(name, "(anonymous namespace)::");
  if (name.rfind("void ", 0) == 0) name.erase(0, 5);
  size_t open = name.size();
  int depth = 0;
  while (open > 0) {
    const char c = name[--open];
    depth += c == ')' ? 1 : c == '(' ? -1 : 0;
    if (depth == 0) break;
  }
  if (!name.empty() && name.back() == ')') name.resize(open);
  return name;
}

SourceLine parse(char* text, uint64_t offset, const std::string& path) {
  SourceLine line;
  text[strcspn(text, "\n")] = 0;
  if (char* discriminator = strstr(text, " (discriminator")) *discriminator = 0;
  char* colon = strrchr(text, ':');
  if (colon != nullptr && *text != '?') {
    *colon = 0;
    line.file = short_path(text);
    line.line = static_cast<uint32_t>(strtoul(colon + 1, nullptr, 10));
    return line;
  }
  char plain[64];
  snprintf(plain, sizeof plain, "+0x%llx", static_cast<unsigned long long>(offset));
  line.file = short_path(path.c_str()) + plain;
  return line;
}

void load_batch(const std::vector<uint64_t>& batch, const std::string& path) {
  std::string command = "addr2line -e " + quoted(path);
  for (uint64_t address : batch) {
    char text[32];
    // The recorded address is that of the return: one byte earlier lies in the call itself.
    snprintf(text, sizeof text, " %llx",
             static_cast<unsigned long long>(address - library_start() - 1));
    command += text;
  }
  FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  for (uint64_t address : batch) {
    char text[4096] = "?";
    if (pipe == nullptr || fgets(text, sizeof text, pipe) == nullptr) strcpy(text, "?");
    known()[address] = parse(text, address - library_start() - 1, path);
  }
  if (pipe != nullptr) pclose(pipe);
}

}  // namespace

std::string symbol_name(uint64_t address) {
  static std::map<uint64_t, std::string> names;
  std::string& name = names[address];
  if (!name.empty()) return name;
  char text[4096];
  snprintf(text, sizeof text, " -f -C -i %llx 2>/dev/null",
           static_cast<unsigned long long>(address - library_start()));
  FILE* pipe = popen(("addr2line -e " + quoted(library_path()) + text).c_str(), "r");
  // Lines alternate between a name and a place, from what is inlined here to the function itself.
  for (int i = 0; pipe != nullptr && fgets(text, sizeof text, pipe) != nullptr; i++) {
    if (i % 2 == 0) name = text;
  }
  if (pipe != nullptr) pclose(pipe);
  name = without_arguments(name);
  if (name.empty() || name[0] == '?') {
    snprintf(text, sizeof text, "+0x%llx",
             static_cast<unsigned long long>(address - library_start()));
    name = short_path(library_path().c_str()) + text;
  }
  return name;
}

bool in_library(uint64_t address) {
  return address >= library_start() && address < reinterpret_cast<uint64_t>(&_end);
}

std::string short_path(const char* path) {
  const char* from = nullptr;
  for (const char* p = path; (p = strstr(p, "native/")) != nullptr; p++) {
    if (p == path || p[-1] == '/') from = p;
  }
  if (from == nullptr) {
    const char* slash = strrchr(path, '/');
    from = slash != nullptr ? slash + 1 : path;
  }
  return from;
}

void symbols_load(const std::vector<uint64_t>& addresses) {
  std::vector<uint64_t> batch;
  const std::string path = library_path();
  for (uint64_t address : addresses) {
    if (known().count(address)) continue;
    known()[address] = {};
    batch.push_back(address);
    if (batch.size() == kBatch) {
      load_batch(batch, path);
      batch.clear();
    }
  }
  if (!batch.empty()) load_batch(batch, path);
}

const SourceLine& symbol(uint64_t address) {
  if (!known().count(address)) symbols_load({address});
  return known()[address];
}

}  // namespace simt
