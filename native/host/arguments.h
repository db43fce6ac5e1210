// arguments.h - JavaScript values to the types of the host, or one sentence that says what is
// wrong.
//
// The boundary of the addon: whatever passes here is safe to hand to a kernel. Every function
// throws Napi::Error for a value that it does not accept, e.g.
//   problem.bits: NaN found, an integer from 1 to 4294967295 is required
// Getters of hostile objects may run arbitrary JavaScript, so a caller reads every property first
// and takes pointers into typed arrays last, with no JavaScript in between (see TypedInputs).
#ifndef KVPROOF_HOST_ARGUMENTS_H
#define KVPROOF_HOST_ARGUMENTS_H

#include <napi.h>

#include <string>

#include "problem.h"
#include "run.h"

namespace kvproof {

// An integer from `min` to `max` (both at most 2^53).
uint64_t integer_argument(const Napi::Value& value, const std::string& name, uint64_t min,
                          uint64_t max);
std::string string_argument(const Napi::Value& value, const std::string& name);
// A path that starts at the root: dlopen() would search the library path for any other.
std::string path_argument(const Napi::Value& value, const std::string& name);

// {format, kAxis, bits, group, queryHeads, kvHeads, headSize, tokens, splits, softmaxScale,
//  queryTokens, type, inputPadding, pageTableStride, poolPages, appended, kept?}
Problem problem_argument(const Napi::Value& value);
// {poison, schedule?: {policy, copies, seed, starvedWarp?}, dequantize?, decodes?, ownStream?}
RunOptions options_argument(const Napi::Value& value);

// The typed arrays of a run: q, k, v, and pageTable where there is one. The constructor reads the
// properties; pointers() checks type and length against the problem and calls no JavaScript, so
// what it returns stays valid until control goes back.
class TypedInputs {
 public:
  explicit TypedInputs(const Napi::Value& value);
  Inputs pointers(const Problem& problem) const;

 private:
  Napi::Value q_, k_, v_, page_table_;
};

}  // namespace kvproof

#endif
