// launch.h - limits of an architecture, and what a launch leaves behind for the host.
#pragma once
#include <cstdint>
#include <string>

namespace simt {

struct Architecture {
  uint32_t sm;
  const char* device;  // the card that these numbers are of
  uint32_t multiprocessors;
};

// sm_80, sm_89 and sm_90; null for anything else.
const Architecture* find_architecture(uint32_t sm);

// Chooses the tensor-core models of machine.config.sm.
void choose_models();

// The error that the stream carries since the last clear: empty, or why a block was abandoned.
// reports_clear() clears it.
const std::string& stream_error();

}  // namespace simt
