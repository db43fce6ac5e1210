// report.h - what the checks saw: one record for each kind and place, with a count.
//
// A report is made in the middle of a kernel, so it must be cheap when repeated: it is recognised
// by kind and raw places before any text is built, and addresses of instrumented code are turned
// into source lines only when the host asks (symbol.h). A fatal report ends the block: state after
// it means nothing. The process is never ended.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime.h"

namespace simt {

// A place in the kernel: a site, the address of an instruction, or nothing (0).
struct Place {
  uint64_t value = 0;
  bool is_address = false;
  static Place of(simt_site site) { return {site, false}; }
  static Place code(uint64_t address) { return {address, true}; }
  bool operator==(const Place& o) const { return value == o.value && is_address == o.is_address; }
};

struct Report {
  const char* kind;
  std::string text;  // may contain kThere, replaced by the place of the other party
  std::string file;  // filled when resolved
  uint32_t line = 0;
  uint32_t count = 1;
  Place here, there;
  uint64_t kernel = 0;   // address of its entry point, or 0
  std::string schedule;  // what replays it
};

constexpr const char* kThere = "@there@";

__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...);

// "file.cu:12", with the path from native/ on, or the base name of a file outside of it.
std::string describe(simt_site site);
// "thread 5 (warp 0 lane 5) of block (0,0,0)" of the running thread.
std::string describe_current();

// Counts one more and returns true if this kind at these places is known already (or nothing more
// is kept). Call it before building the text of a report that may repeat.
bool report_again(const char* kind, Place here, Place there = {});

void report(const char* kind, Place here, std::string text, Place there = {});
inline void report(const char* kind, simt_site at, std::string text) {
  report(kind, Place::of(at), std::move(text));
}

// As report(), then leaves the block.
[[noreturn]] void report_fatal(const char* kind, Place here, std::string text);
[[noreturn]] inline void report_fatal(const char* kind, simt_site at, std::string text) {
  report_fatal(kind, Place::of(at), std::move(text));
}

void reports_clear();
// The reports so far with their places resolved, one for each kind and line.
const std::vector<Report>& reports_resolved();
// Text of the report that abandoned a block since the last clear, or empty.
const std::string& fatal_text();

}  // namespace simt
