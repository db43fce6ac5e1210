// emulator.h - the emulator as a device of the kernel interface (../plugin/kernel_abi.h).
//
// An emulated kernel's kvp_kernel points at these two tables and needs nothing else of the
// emulator.
//   memory    allocations between redzones; writes mark bytes initialised; synchronize() returns
//             the error that abandoned a block, if one did, until reset() or configure()
//   emulator  schedule and architecture of the next launches, and what the checks saw
// Nothing here ends the process: a wrong argument is a status, a misuse by the kernel a report.
#pragma once
#include "../plugin/kernel_abi.h"

namespace simt {

extern const kvp_memory memory_table;
extern const kvp_emulator emulator_table;

}  // namespace simt
