// refusal_text.h - whether what a kernel says when it refuses keeps within its room, and is true.
#ifndef KVPROOF_HOST_REFUSAL_TEXT_H
#define KVPROOF_HOST_REFUSAL_TEXT_H

#include <vector>

#include "refusal.h"

namespace kvproof {

// A sentence is cut to the room that there is, ends with a NUL, and nothing behind it is written.
void ask_for_short_texts(const Library& library, const kvp_problem& right,
                         std::vector<Unrefused>* found);

// A limit that a refusal states, as "problem.FIELD: VALUE ..., at most LIMIT", is the limit: so
// much is not refused for that reason, and one more is refused. Other wordings are not judged.
void ask_for_stated_limits(const Library& library, const kvp_problem& right,
                           std::vector<Unrefused>* found);

}  // namespace kvproof

#endif
