// twin.h - the native reference (native/twin) for the addon: whole cases judged where the kernel
// runs, from JavaScript values to JavaScript values.
//
//   {call: 'judge', arithmetic: {fraction, fusedProducts, sumLanes, rescaleTokens},
//    cases: [{problem, pageTable?, q, k, v}]}  -> {verdicts: [...]}, one for each case
//   {call: 'read'}     -> tensors, results and bounds of the last case of the last batch
//   {call: 'release'}  -> {}: gives its memory back
//
// each with kind 'done', or {kind: 'error' | 'device-error', message}. q, k and v are recipes:
// {distribution (a number), seed, scale, offset}. Nothing is computed here.
#ifndef KVPROOF_HOST_TWIN_H
#define KVPROOF_HOST_TWIN_H

#include <napi.h>

#include <string>

#include "library.h"

namespace kvproof {

// `path`: of libkvproof_twin.so, or of libkvproof_twin_host.so for a kernel in host memory.
Napi::Value call_twin(const Library& library, const std::string& path, const Napi::Value& request);

}  // namespace kvproof

#endif
