// mbarrier.cpp - see mbarrier.h.
//
// The check of phases does not depend on the schedule. The hardware compares a parity, so a thread
// that waits for phase k while phase k - 1 is still open passes at once. That cannot happen if, and
// only if, the completion of phase k - 1 is ordered before the wait; the thread's clock says
// whether it is.
#include "mbarrier.h"

#include "arena.h"
#include "clock.h"
#include "report.h"
#include "schedule.h"
#include "shadow.h"

namespace simt {
namespace {

// What the word in shared memory holds: a mark and the barrier's number.
constexpr uint64_t kMark = 0x6d62617200000000u;
// mbarrier limits, PTX ISA "mbarrier object": counts and bytes of one phase.
constexpr uint32_t kCountMax = (1u << 20) - 1;
constexpr int64_t kTxMax = (1 << 20) - 1;

void complete_phase_if_due(Mbarrier& b) {
  if (b.pending != 0 || b.tx != 0) return;
  if (++b.phase >= kTimeMax && running_fiber()) report_time_limit(b.init_at);
  b.pending = b.count;
  if constexpr (kChecked) {
    b.arriving->time[mbarrier_slot(b.index)] = b.phase;
    clock_drop(b.done);
    b.done = clock_copy(b.arriving);
  }
  for (Thread* thread : b.waiters) make_ready(*thread);
  b.waiters.clear();
}

// More bytes landed than were announced, and no arrival is pending that could announce them.
void check_underflow(const Mbarrier& b, simt_site at) {
  if (b.tx >= 0 || b.pending != 0 || report_again("mbarrier misuse", Place::of(at))) return;
  report("mbarrier misuse", at,
         format("block (%u,%u,%u): transaction underflow: %lld bytes more than announced landed in "
                "phase %u of mbarrier #%u, which has no arrival pending",
                machine.block[0], machine.block[1], machine.block[2], static_cast<long long>(-b.tx),
                b.phase, b.index));
}

Mbarrier* find(uint64_t address) {
  for (Mbarrier& b : machine.mbarriers) {
    if (b.address == address) return &b;
  }
  return nullptr;
}

void check_init_ordered(const Mbarrier& b, const char* what, simt_site at) {
  if (b.init_thread == current->id || ordered(*current, b.init_thread, b.init_time)) return;
  if (report_again("race", Place::of(at), Place::of(b.init_at))) return;
  report("race", Place::of(at),
         format("%s: %s of mbarrier #%u is not ordered after its initialisation by thread %u at %s",
                describe_current().c_str(), what, b.index, b.init_thread, kThere),
         Place::of(b.init_at));
}

void check_phase(const Mbarrier& b, uint32_t phase, uint32_t known, simt_site at) {
  if (b.phase != phase + 1 && !report_again("mbarrier phase", Place::of(at))) {
    report("mbarrier phase", at,
           format("%s waits for phase %u of mbarrier #%u and its parity test passes while the "
                  "barrier is in phase %u (%u arrivals, %lld bytes pending)",
                  describe_current().c_str(), phase, b.index, b.phase, b.pending,
                  static_cast<long long>(b.tx)));
  }
  if constexpr (kChecked) {
    if (phase <= known || report_again("mbarrier phase", Place::of(at))) return;
    report("mbarrier phase", at,
           format("%s waits for phase %u of mbarrier #%u, but only the completion of %u phases is "
                  "ordered before the wait: run earlier, the parity test would pass too soon",
                  describe_current().c_str(), phase, b.index, known));
  }
}

}  // namespace

Mbarrier& mbarrier_at(uint64_t* address, const char* what, simt_site at) {
  const auto where = reinterpret_cast<uint64_t>(address);
  Mbarrier* b = nullptr;
  if (SIMT_LIKELY(in_shared(where) && where % 8 == 0)) {
    const uint64_t word = *address, number = word - kMark;
    if (SIMT_LIKELY(number < machine.mbarriers.size())) b = &machine.mbarriers[number];
    if (SIMT_UNLIKELY(b == nullptr || b->address != where)) {
      b = find(where);
      if (b != nullptr && !report_again("mbarrier misuse", Place::of(at))) {
        report("mbarrier misuse", at,
               format("%s: %s of mbarrier #%u, whose word at %s was overwritten",
                      describe_current().c_str(), what, b->index, describe_address(where).c_str()));
      }
    }
  }
  if (SIMT_UNLIKELY(b == nullptr)) {
    report_fatal("mbarrier misuse", at,
                 format("%s: %s at %s, where no mbarrier is initialised",
                        describe_current().c_str(), what, describe_address(where).c_str()));
  }
  if constexpr (kChecked) check_init_ordered(*b, what, at);
  return *b;
}

// A copy may be issued before its bytes are announced, as long as an arrival is pending that can
// still announce them. Otherwise the phase can never complete, or a later one counts bytes that are
// not its.
void mbarrier_landed(Mbarrier& b, uint32_t bytes, uint32_t phase, simt_site at) {
  b.tx -= bytes;
  if (phase != b.phase && !report_again("mbarrier misuse", Place::of(at))) {
    report("mbarrier misuse", at,
           format("block (%u,%u,%u): %u bytes of a copy issued in phase %u of mbarrier #%u land in "
                  "phase %u: fewer bytes were announced than copied",
                  machine.block[0], machine.block[1], machine.block[2], bytes, phase, b.index,
                  b.phase));
  }
  check_underflow(b, at);
  complete_phase_if_due(b);
}

void mbarriers_check_exit() {
  for (const Mbarrier& b : machine.mbarriers) {
    if (b.copy_phases <= b.waited_phases) continue;
    if (report_again("copy in flight at exit", Place::of(b.copy_at))) continue;
    report(
        "copy in flight at exit", b.copy_at,
        format("block (%u,%u,%u) exits although no thread waited for phase %u of mbarrier #%u, "
               "on which a bulk copy was issued here",
               machine.block[0], machine.block[1], machine.block[2], b.copy_phases - 1, b.index));
  }
}

void mbarriers_clear() {
  if constexpr (kChecked) {
    for (Mbarrier& b : machine.mbarriers) {
      clock_drop(b.arriving);
      clock_drop(b.done);
    }
  }
  machine.mbarriers.clear();
}

namespace {

void arrive(uint64_t* bar, uint32_t bytes, const char* what, simt_site at) {
  Mbarrier& b = mbarrier_at(bar, what, at);
  if (b.pending == 0) {
    report_fatal(
        "mbarrier misuse", at,
        format("%s arrives on mbarrier #%u, whose phase %u has no arrival pending "
               "(%lld bytes are on their way)",
               describe_current().c_str(), b.index, b.phase, static_cast<long long>(b.tx)));
  }
  b.tx += bytes;
  if (b.tx > kTxMax) {
    report_fatal("mbarrier misuse", at,
                 format("%s expects %lld bytes in one phase of mbarrier #%u; at most %lld are "
                        "possible",
                        describe_current().c_str(), static_cast<long long>(b.tx), b.index,
                        static_cast<long long>(kTxMax)));
  }
  if constexpr (kChecked) clock_release(*current, b.arriving);
  b.pending--;
  check_underflow(b, at);
  complete_phase_if_due(b);
  schedule_point();
}

}  // namespace
}  // namespace simt

using namespace simt;

void simt_mbar_init(uint64_t* bar, uint32_t count, simt_site at) {
  const auto where = reinterpret_cast<uint64_t>(bar);
  if (!in_shared(where) || where % 8 != 0) {
    report_fatal("mbarrier misuse", at,
                 format("%s initialises an mbarrier at %s; it must be 8-byte aligned shared memory",
                        describe_current().c_str(), describe_address(where).c_str()));
  }
  if (find(where) != nullptr) {
    report_fatal("mbarrier misuse", at,
                 format("%s initialises mbarrier #%u a second time", describe_current().c_str(),
                        find(where)->index));
  }
  if (count == 0 || count > kCountMax) {
    report_fatal("mbarrier misuse", at,
                 format("%s initialises an mbarrier for %u arrivals; 1 to %u are possible",
                        describe_current().c_str(), count, kCountMax));
  }
  if (machine.mbarriers.size() == kMbarriersMax) {
    report_fatal(
        "limit", at,
        format("a block has more than %u mbarriers, which is the emulator's limit", kMbarriersMax));
  }
  Mbarrier b{};
  b.address = where;
  b.index = static_cast<uint32_t>(machine.mbarriers.size());
  b.count = b.pending = count;
  b.init_thread = current->id;
  b.init_time = current->warp->time;
  b.init_at = at;
  if constexpr (kChecked) {
    shadow_mbarrier(where, at);
    b.arriving = clock_zero();
    b.done = clock_zero();
  }
  machine.mbarriers.push_back(std::move(b));
  *bar = kMark + machine.mbarriers.size() - 1;
}

void simt_fence(int kind, simt_site) {
  if (kChecked && kind == SIMT_FENCE_PROXY_ASYNC) clock_fence_proxy(*current);
  for (Mbarrier& b : machine.mbarriers) {
    if (b.init_thread == current->id) b.fenced = true;
  }
}

void simt_mbar_arrive(uint64_t* bar, simt_site at) { arrive(bar, 0, "arrive", at); }

void simt_mbar_arrive_expect_tx(uint64_t* bar, uint32_t bytes, simt_site at) {
  arrive(bar, bytes, "arrive.expect_tx", at);
}

void simt_mbar_wait(uint64_t* bar, uint32_t phase, simt_site at) {
  Mbarrier* b = &mbarrier_at(bar, "wait", at);
  uint32_t known = 0;  // phases whose completion is ordered before this wait
  if constexpr (kChecked) known = current->clock->time[mbarrier_slot(b->index)];
  const uint32_t index = b->index;
  while ((b->phase & 1) == (phase & 1)) {
    current->barrier = b;
    current->phase = phase;
    b->waiters.push_back(current);
    set_waiting(Wait::mbarrier, at);
    yield();
    b = &machine.mbarriers[index];  // an init meanwhile may have moved them
  }
  check_phase(*b, phase, known, at);
  if (b->waited_phases < b->phase) b->waited_phases = b->phase;
  if constexpr (kChecked) clock_acquire(*current, b->done);
  schedule_point();
}
