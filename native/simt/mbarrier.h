// mbarrier.h - mbarriers of a block: arrivals, transaction bytes, phases, and the misuse of each.
//
// The word in shared memory holds the barrier's number and is opaque to the kernel, as on the
// hardware. A phase completes when no arrival and no byte is pending; completion is released to
// every thread that waits for the phase or sees it complete later.
#pragma once
#include "machine.h"

namespace simt {

// The barrier at an address, or a fatal report.
Mbarrier& mbarrier_at(uint64_t* address, const char* what, simt_site at);

// `bytes` of a copy that was issued in a phase, at a place, have landed.
void mbarrier_landed(Mbarrier& barrier, uint32_t bytes, uint32_t phase, simt_site at);

// After the last thread: bulk copies whose phase nobody waited for.
void mbarriers_check_exit();
void mbarriers_clear();

}  // namespace simt
