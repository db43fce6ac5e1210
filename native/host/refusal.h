// refusal.h - wrong arguments, one at a time, and whether a kernel refuses them.
//
// What a Case cannot express: a null or misaligned pointer, a count of zero, a length below zero, a
// scale that is no number. Each is put to the kernel behind a request that is right otherwise; it
// has to answer with a failure (KVP_INVALID where nobody could accept the argument) and to leave
// every buffer as it was. What it says then is judged too (refusal_text.h).
#ifndef KVPROOF_HOST_REFUSAL_H
#define KVPROOF_HOST_REFUSAL_H

#include <string>
#include <vector>

#include "library.h"

namespace kvproof {

struct Unrefused {
  std::string call;   // "supports", "sizes", "quantize" or "decode"
  std::string fault;  // e.g. "decode with lse null"
  std::string found;  // e.g. "status 0"
  std::string required = "a refusal without a trace";
};

// What was not refused as it should be; empty for a kernel that keeps the rules. `problem` is one
// that the kernel supports.
std::vector<Unrefused> unrefused(const Library& library, const Problem& problem);

}  // namespace kvproof

#endif
