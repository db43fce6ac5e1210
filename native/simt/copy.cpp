// copy.cpp - see copy.h.
#include "copy.h"

#include <algorithm>
#include <cstring>

#include "arena.h"
#include "mbarrier.h"
#include "report.h"
#include "schedule.h"
#include "shadow.h"

namespace simt {
namespace {

constexpr uint32_t kPieceUnit = 16;       // bulk copies land in multiples of this
constexpr uint32_t kPieceUnitsMax = 256;  // at most so many at once when drawn

void land(const PendingCopy& copy) {
  std::memcpy(copy.to, copy.from, 16);
  machine.copies_pending--;
}

void land_group(Thread& thread, uint32_t last_group) {
  auto& copies = thread.copies;
  size_t kept = 0;
  for (const PendingCopy& copy : copies) {
    if (copy.group <= last_group) {
      land(copy);
    } else {
      copies[kept++] = copy;
    }
  }
  copies.resize(kept);
}

// Addresses that a copy may name: shared to, global from, both multiples of 16.
void check_addresses(const char* what, const void* to, const void* from, uint64_t bytes,
                     simt_site at) {
  const auto t = reinterpret_cast<uint64_t>(to), f = reinterpret_cast<uint64_t>(from);
  if ((t | f | bytes) & 15) {
    report_fatal(
        "misaligned access", at,
        format("%s issues %s of %llu bytes from %s to %s; all three must be multiples of 16",
               describe_current().c_str(), what, static_cast<unsigned long long>(bytes),
               describe_address(f).c_str(), describe_address(t).c_str()));
  }
  const bool spaces = in_shared(t) && in_shared(t + bytes - 1) && in_arena(f) &&
                      in_arena(f + bytes - 1) && !in_shared(f);
  if (!spaces) {
    report_fatal(
        "out of bounds", at,
        format("%s issues %s of %llu bytes from %s to %s; it must go from global to shared "
               "memory",
               describe_current().c_str(), what, static_cast<unsigned long long>(bytes),
               describe_address(f).c_str(), describe_address(t).c_str()));
  }
  const uint64_t outside = outside_bytes(t, bytes) ? t : outside_bytes(f, bytes) ? f : 0;
  if (outside != 0) {
    report_fatal("out of bounds", at,
                 format("%s issues %s of %llu bytes at %s", describe_current().c_str(), what,
                        static_cast<unsigned long long>(bytes), describe_address(outside).c_str()));
  }
}

}  // namespace

void land_bulk(size_t index, uint32_t bytes) {
  BulkCopy& copy = machine.bulk[index];
  bytes = std::min(bytes, copy.bytes - copy.landed);
  std::memcpy(copy.to + copy.landed, copy.from + copy.landed, bytes);
  copy.landed += bytes;
  Mbarrier& barrier = *copy.barrier;
  const uint32_t phase = copy.phase;
  const simt_site at = copy.at;
  if (copy.landed == copy.bytes) {
    machine.bulk.erase(machine.bulk.begin() + static_cast<long>(index));
  }
  mbarrier_landed(barrier, bytes, phase, at);
}

void land_something() {
  if (!machine.bulk.empty()) {
    const auto index = draw_below(static_cast<uint32_t>(machine.bulk.size()));
    const BulkCopy& copy = machine.bulk[index];
    const uint32_t units = (copy.bytes - copy.landed) / kPieceUnit;
    const uint32_t piece = kPieceUnit * (1 + draw_below(std::min(units, kPieceUnitsMax)));
    land_bulk(index, draw_below(2) ? piece : UINT32_MAX);
  }
  if (machine.copies_pending == 0) return;
  auto& copies = machine.thread[draw_below(machine.threads)].copies;
  for (uint32_t n = draw_below(4); n > 0 && !copies.empty(); n--) {
    const uint32_t index = draw_below(static_cast<uint32_t>(copies.size()));
    land(copies[index]);
    copies[index] = copies.back();
    copies.pop_back();
  }
}

void copies_check_exit(const Thread& thread) {
  if (thread.last_copy_group <= thread.groups_done) return;
  if (report_again("copy in flight at exit", Place::of(thread.last_copy_at))) return;
  report("copy in flight at exit", thread.last_copy_at,
         format("%s exits with cp.async copies that no wait covers (%u groups committed, %u waited "
                "for); the last was issued here",
                describe_current().c_str(), thread.groups_committed, thread.groups_done));
}

void copies_finish() {
  while (!machine.bulk.empty()) land_bulk(0, UINT32_MAX);
  for (uint32_t t = 0; t < machine.threads && machine.copies_pending; t++) {
    land_group(machine.thread[t], UINT32_MAX);
  }
}

void copies_forget() {
  machine.bulk.clear();
  for (uint32_t t = 0; t < machine.threads; t++) machine.thread[t].copies.clear();
  machine.copies_pending = 0;
}

}  // namespace simt

using namespace simt;

void simt_bulk_g2s(void* dst, const void* src, uint32_t bytes, uint64_t* bar, simt_site at) {
  Mbarrier& b = mbarrier_at(bar, "cp.async.bulk", at);
  if (!b.fenced && !report_again("missing fence", Place::of(at))) {
    report(
        "missing fence", at,
        format("%s issues cp.async.bulk on mbarrier #%u, but no fence by the initialising thread "
               "follows its initialisation at %s",
               describe_current().c_str(), b.index, describe(b.init_at).c_str()));
  }
  if (bytes == 0) return;
  check_addresses("cp.async.bulk", dst, src, bytes, at);
  if constexpr (kChecked) {
    const AsyncAccess access{mbarrier_slot(b.index), b.phase + 1, at};
    shadow_async(reinterpret_cast<uint64_t>(src), bytes, false, access);
    shadow_async(reinterpret_cast<uint64_t>(dst), bytes, true, access);
  }
  b.copy_phases = b.phase + 1;
  b.copy_at = at;
  machine.bulk.push_back({static_cast<char*>(dst), static_cast<const char*>(src), bytes, 0,
                          current->id, b.phase, &b, at, draw_priority()});
  if (machine.config.copies == Copies::eager) land_bulk(machine.bulk.size() - 1, UINT32_MAX);
  schedule_point();
}

void simt_cp_async16(void* dst, const void* src, simt_site at) {
  Thread& thread = *current;
  const uint32_t group = thread.groups_committed + 1;
  check_addresses("cp.async", dst, src, 16, at);
  if constexpr (kChecked) {
    const AsyncAccess access{copy_slot(thread.id), group, at};
    shadow_async(reinterpret_cast<uint64_t>(src), 16, false, access);
    shadow_async(reinterpret_cast<uint64_t>(dst), 16, true, access);
  }
  thread.last_copy_group = group;
  thread.last_copy_at = at;
  if (machine.config.copies == Copies::eager) {
    std::memcpy(dst, src, 16);
    return;
  }
  thread.copies.push_back({dst, src, group});
  machine.copies_pending++;
}

void simt_cp_async_commit(simt_site at) {
  if (++current->groups_committed >= kTimeMax) report_time_limit(at);
}

void simt_cp_async_wait(uint32_t pending, simt_site) {
  Thread& thread = *current;
  if (thread.groups_committed > pending) {
    const uint32_t done = thread.groups_committed - pending;
    land_group(thread, done);
    if (thread.groups_done < done) thread.groups_done = done;
  }
  schedule_point();
}
