// shadow_report.cpp - what the checks of shadow.cpp say. See shadow_access.h.
#include "arena.h"
#include "clock.h"
#include "machine.h"
#include "schedule.h"
#include "shadow_access.h"
#include "shadow_cell.h"
#include "symbol.h"

namespace simt {
namespace {

std::vector<simt_site> sites;

constexpr uint32_t kSiteBit = 1u << 31;

Place unpack_place(uint32_t packed) {
  if (packed & kSiteBit) return Place::of(sites[packed & ~kSiteBit]);
  return packed ? Place::code(library_start() + packed) : Place{};
}

std::string party(uint32_t slot) {
  const uint32_t threads = machine.threads;
  if (is_atomic_slot(slot)) return format("an atomic of thread %u", entry_of(slot));
  if (slot < threads) return format("thread %u (warp %u lane %u)", slot, slot / 32, slot % 32);
  if (slot < 2 * threads) return format("a cp.async of thread %u", slot - threads);
  return format("a bulk copy on mbarrier #%u", slot - 2 * threads);
}

std::string describe_offset(uint64_t offset) {
  return describe_address(reinterpret_cast<uint64_t>(arena) + offset);
}

const char* verb(const Access& a, bool write) {
  if (a.atomic) return "performs an atomic on";
  if (a.asynchronous) return write ? "issues a copy that writes" : "issues a copy that reads";
  return write ? "writes" : "reads";
}

}  // namespace

uint32_t pack_site(simt_site site) {
  for (size_t i = 0; i < sites.size(); i++) {
    if (sites[i] == site) return kSiteBit | static_cast<uint32_t>(i);
  }
  sites.push_back(site);
  return kSiteBit | static_cast<uint32_t>(sites.size() - 1);
}

SIMT_COLD void report_bad_access(const Access& a, uint64_t offset, uint64_t flags, bool write) {
  const uint64_t address = reinterpret_cast<uint64_t>(arena) + offset;
  const bool barrier = (flags & kFlags) == kMbarrierFlags;
  const bool outside = !barrier && outside_bytes(a.address, a.size) != 0;
  const char* kind = barrier ? "mbarrier misuse" : outside ? "out of bounds" : "uninitialised read";
  const Place here = unpack_place(a.place);
  if (report_again(kind, here)) return;
  report(kind, here,
         format("%s %s %u bytes at %s%s", describe_current().c_str(), verb(a, write), a.size,
                describe_address(barrier || !outside ? address : a.address).c_str(),
                barrier   ? ", which is an mbarrier"
                : outside ? ""
                          : ", which nothing has written"));
}

SIMT_COLD void report_race(const Access& a, uint64_t offset, bool write, uint64_t other,
                           bool other_write, uint32_t lanes, uint32_t place) {
  const bool same_block = generation_of(other) == machine.generation;
  const char* kind = same_block ? "race" : "race between blocks";
  const Place here = unpack_place(a.place), there = unpack_place(place);
  if (report_again(kind, here, there)) return;
  const uint32_t slot = slot_of(other) + (lanes ? lowest_lane(lanes) : 0);
  report(kind, here,
         format("%s %s %s, not ordered after the %s by %s%s at %s", describe_current().c_str(),
                verb(a, write), describe_offset(offset).c_str(), other_write ? "write" : "read",
                other ? party(slot).c_str() : "a thread", same_block ? "" : " of another block",
                kThere),
         there);
}

SIMT_COLD void report_missing_fence(const Access& a, uint64_t offset, bool write, uint64_t other,
                                    uint32_t place) {
  const Place here = unpack_place(a.place), there = unpack_place(place);
  if (report_again("missing fence", here, there)) return;
  report("missing fence", here,
         format("%s %s %s, which %s wrote at %s with no fence.proxy.async in between",
                describe_current().c_str(), verb(a, write), describe_offset(offset).c_str(),
                party(slot_of(other)).c_str(), kThere),
         there);
}

SIMT_COLD void report_reuse(uint64_t offset, uint64_t other, uint32_t place, simt_site at) {
  const Place there = unpack_place(place);
  if (report_again("race", Place::of(at), there)) return;
  report(
      "race", Place::of(at),
      format("block (%u,%u,%u) reuses %s at this barrier, not ordered after the write by %s at %s",
             machine.block[0], machine.block[1], machine.block[2], describe_offset(offset).c_str(),
             party(slot_of(other)).c_str(), kThere),
      there);
}

}  // namespace simt
