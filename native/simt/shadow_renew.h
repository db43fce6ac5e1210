// shadow_renew.h - cells that were last touched in an earlier block (checked build).
#pragma once
#include <cstdint>

#include "shadow_cell.h"

namespace simt {

// Arena offset up to which cells of global memory may be in use.
extern uint64_t cells_in_use;

// Brings a cell up to date: what it must remember of earlier blocks of this launch, and nothing
// else. A write by an earlier block keeps its generation, so that every access by this one is a
// race.
void renew(Cell& cell, uint64_t offset);

}  // namespace simt
