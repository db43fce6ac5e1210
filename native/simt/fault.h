// fault.h - processor faults of a kernel as reports instead of the end of the process.
//
// A null pointer, a wild index or an integer division by zero raises a signal in the fiber that
// runs. The handler makes the fiber continue in a function that reports and leaves the block.
// Handlers are installed around a launch only and the host's are put back; a fault of anything but
// a fiber goes to them.
#pragma once

namespace simt {

// While one is alive, faults of fibers are reports.
class FaultGuard {
 public:
  FaultGuard();
  ~FaultGuard();
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;
};

}  // namespace simt
