// test_checked.cpp - see test_checked.h.
#include "test_checked.h"

#include "test_device.h"

namespace test {
namespace {

constexpr uint64_t kSeeds = 4;

// What is wrong with a report, or empty.
std::string report_flaw(const Report& r, const char* path, const Schedule& s) {
  const std::string here = source_line(path, r.line);
  if (!contains(here, "reported")) return "names line " + std::to_string(r.line) + ": " + here;
  if (!contains(r.text, "seed " + std::to_string(s.seed))) return "names no seed";
  if (!contains(r.text, s.policy)) return "names no policy";
  if (!contains(r.text, "block")) return "names no block";
  if (r.kind != "limit" && !contains(r.text, "thread") && !contains(r.text, "block ("))
    return "names no thread";
  if (!contains(r.text, "kernel")) return "names no kernel";
  const size_t other = r.text.find(" at native/simt/");
  if (other == std::string::npos) return "";
  const size_t colon = r.text.find(':', other);
  const auto line = static_cast<uint32_t>(std::stoul(r.text.substr(colon + 1)));
  const std::string there = source_line(path, line);
  return contains(there, "other party") ? "" : "names as the other party: " + there;
}

std::string found_kinds(const std::vector<Report>& found) {
  std::string kinds;
  for (const Report& r : found) kinds += (kinds.empty() ? "" : ", ") + r.kind + ": " + r.text;
  return kinds.empty() ? "nothing" : kinds;
}

// What is wrong with what a wrong kernel's run reported, or empty.
std::string run_flaw(const char* kind, const char* also, const char* path, const Schedule& s) {
  const std::vector<Report> found = reports();
  bool seen = false;
  for (const Report& r : found) {
    if (r.kind != kind && !contains(also, r.kind)) return "found " + found_kinds(found);
    if (r.kind != kind) continue;
    seen = true;
    const std::string flaw = report_flaw(r, path, s);
    if (!flaw.empty()) return flaw + " (" + r.text + ")";
  }
  return seen ? "" : "found " + found_kinds(found);
}

std::string name_of(const Schedule& s) {
  return std::string(s.policy) + "/" + s.copies + "/" + std::to_string(s.seed) + ": ";
}

}  // namespace

void always(const char* what, const char* kind, void (*wrong)(), const char* also,
            const char* path) {
  std::string flaw;
  for (uint64_t seed = 1; seed <= kSeeds && flaw.empty(); seed++) {
    for (const Schedule& s : schedules(seed)) {
      start(s);
      wrong();
      const std::string of_run = run_flaw(kind, also, path, s);
      if (!of_run.empty() && flaw.empty()) flaw = name_of(s) + of_run;
    }
  }
  const std::string text = std::string(kind) + ": " + what;
  check::claim(flaw.empty(), text.c_str(), "%s", flaw.c_str());
}

void twins(const char* what, const char* kind, void (*wrong)(), void (*right)(), const char* also,
           const char* path) {
  always(what, kind, wrong, also, path);
  std::string noise;
  for (uint64_t seed = 1; seed <= kSeeds && noise.empty(); seed++) {
    for (const Schedule& s : schedules(seed)) {
      start(s);
      right();
      if (!reports().empty() && noise.empty()) noise = name_of(s) + found_kinds(reports());
    }
  }
  const std::string text = std::string("nothing, where that is right: ") + what;
  check::claim(noise.empty(), text.c_str(), "%s", noise.c_str());
}

uint32_t* words(uint32_t count, const char* name) { return allocate<uint32_t>(count, name); }
uint32_t* counting(uint32_t count, const char* name) { return upload(counting(count), name); }
uint32_t* zeros(uint32_t count, const char* name) {
  return upload(std::vector<uint32_t>(count), name);
}
void redzone(uint32_t* p, uint32_t words) { simt::memory_table.mark(p, words * 4ull, 2); }

int finish() { return check::finish(); }

}  // namespace test
