// copy.h - asynchronous copies: cp.async.bulk on an mbarrier, and cp.async in commit groups.
//
// A copy is checked when it is issued, whatever the time at which its bytes land: from that moment
// on the destination belongs to it until a wait that covers it. Bytes are read from the source when
// they land, so a source that changes too early shows in the results as well.
#pragma once
#include "machine.h"

namespace simt {

// Lands up to `bytes` more of bulk copy `index`.
void land_bulk(size_t index, uint32_t bytes);
// Lands a piece of one copy drawn at random, if there is any.
void land_something();

// At a thread's exit: cp.async groups that no wait covered.
void copies_check_exit(const Thread& thread);
// Lands what is left when a block ends.
void copies_finish();
void copies_forget();

}  // namespace simt
