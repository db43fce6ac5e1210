// atomic.h - what atomics leave behind. See atomic.cpp.
#pragma once

namespace simt {

// At the start of a launch: earlier ones are ordered before it in any case.
void atomics_launch();

}  // namespace simt
