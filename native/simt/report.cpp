// report.cpp - see report.h.
#include "report.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "machine.h"
#include "schedule.h"
#include "symbol.h"

namespace simt {
namespace {

// Different places of one launch that are kept; the rest is only counted as the last of its kind.
constexpr size_t kReportsMax = 256;

struct Store {
  std::vector<Report> raw, resolved;
  std::string fatal;
  bool stale = true;
};

Store& store() {
  static Store s;
  return s;
}

const char* file_of(simt_site site) {
  return reinterpret_cast<const char*>(site & 0xffffffffffffu);
}

uint32_t line_of(simt_site site) { return static_cast<uint32_t>(site >> 48); }

Report* find(const char* kind, Place here, Place there) {
  for (Report& r : store().raw) {
    if (r.here == here && r.there == there && std::strcmp(r.kind, kind) == 0) return &r;
  }
  return nullptr;
}

SourceLine resolve(Place place) {
  if (place.value == 0) return {};
  if (place.is_address) return symbol(place.value);
  return {short_path(file_of(place.value)), line_of(place.value)};
}

std::string place_text(Place place) {
  if (place.value == 0) return "an unknown place";
  const SourceLine line = resolve(place);
  return line.line ? format("%s:%u", line.file.c_str(), line.line) : line.file;
}

// The schedule of the running launch, as kvp_schedule names it.
std::string schedule_text() {
  const Config& c = machine.config;
  std::string text = format(
      "%s, copies %s, seed %llu, sm_%u", kPolicyNames[static_cast<int>(c.policy)],
      kCopiesNames[static_cast<int>(c.copies)], static_cast<unsigned long long>(c.seed), c.sm);
  if (c.policy == Policy::starve) text += format(", starved warp %u", c.starved_warp);
  return text;
}

void resolve_all() {
  Store& s = store();
  std::vector<uint64_t> addresses;
  for (const Report& r : s.raw) {
    if (r.here.is_address) addresses.push_back(r.here.value);
    if (r.there.is_address) addresses.push_back(r.there.value);
  }
  symbols_load(addresses);
  s.resolved.clear();
  for (const Report& r : s.raw) {
    const SourceLine line = resolve(r.here);
    Report* same = nullptr;
    for (Report& known : s.resolved) {
      if (std::strcmp(known.kind, r.kind) == 0 && known.file == line.file &&
          known.line == line.line) {
        same = &known;
      }
    }
    if (same != nullptr) {
      same->count += r.count;
      continue;
    }
    Report whole = r;
    whole.file = line.file;
    whole.line = line.line;
    whole.text += format(" [%s%sschedule %s]", r.kernel ? symbol_name(r.kernel).c_str() : "",
                         r.kernel ? ", " : "", r.schedule.c_str());
    const size_t at = whole.text.find(kThere);
    if (at != std::string::npos) {
      whole.text.replace(at, std::strlen(kThere), place_text(r.there));
    }
    s.resolved.push_back(std::move(whole));
  }
}

}  // namespace

std::string format(const char* pattern, ...) {
  char text[1024];
  va_list values;
  va_start(values, pattern);
  std::vsnprintf(text, sizeof text, pattern, values);
  va_end(values);
  return text;
}

std::string describe(simt_site site) { return place_text(Place::of(site)); }

std::string describe_current() {
  if (!running_fiber()) return "the host";
  return format("thread %u (warp %u lane %u) of block (%u,%u,%u)", current->id, current->id / 32,
                current->lane, machine.block[0], machine.block[1], machine.block[2]);
}

bool report_again(const char* kind, Place here, Place there) {
  Store& s = store();
  Report* known = find(kind, here, there);
  if (known == nullptr && s.raw.size() < kReportsMax) return false;
  if (known == nullptr) known = &s.raw.back();
  known->count++;
  s.stale = true;
  return true;
}

void report(const char* kind, Place here, std::string text, Place there) {
  if (report_again(kind, here, there)) return;
  Store& s = store();
  Report r;
  r.kind = kind;
  r.text = std::move(text);
  r.here = here;
  r.there = there;
  r.kernel = reinterpret_cast<uint64_t>(machine.shape.kernel);
  r.schedule = schedule_text();
  s.raw.push_back(std::move(r));
  s.stale = true;
}

void report_fatal(const char* kind, Place here, std::string text) {
  {
    if (store().fatal.empty()) store().fatal = std::string(kind) + ": " + text;
    report(kind, here, std::move(text));
    std::string().swap(text);  // nothing on this stack is destroyed after the switch
  }
  abandon_block();
}

void reports_clear() {
  store().raw.clear();
  store().resolved.clear();
  store().fatal.clear();
  store().stale = true;
}

const std::vector<Report>& reports_resolved() {
  Store& s = store();
  if (s.stale) resolve_all();
  s.stale = false;
  return s.resolved;
}

const std::string& fatal_text() { return store().fatal; }

}  // namespace simt
