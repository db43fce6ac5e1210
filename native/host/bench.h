// bench.h - the clock (native/bench) for the addon: one call of its interface, from JavaScript
// values to JavaScript values.
//
//   {call: 'ceilings', runs}                          -> {copyGBs, readGBs}
//   {call: 'prepare', problem, append, seed}          -> {cacheBytes}
//   {call: 'head', request, kvHead}                   -> {q, k, v, cache, kResidual, vResidual,
//                                                         output, lse} of what was prepared
//   {call: 'time', op: 'quantize' | 'append' | 'decode', runs}           -> {ms}
//   {call: 'stepPrepare', problem, layers, hidden, feedForward, seed}    -> {weightBytes,
//   cacheBytes} {call: 'stepTime', runs}                          -> {ms} {call: 'release'} -> {}
//
// each with kind 'done', or {kind: 'unsupported' | 'error', message}. Nothing is measured here.
#ifndef KVPROOF_HOST_BENCH_H
#define KVPROOF_HOST_BENCH_H

#include <napi.h>

#include <string>

#include "library.h"

namespace kvproof {

// `path`: of libkvproof_bench.so.
Napi::Value call_bench(const Library& library, const std::string& path, const Napi::Value& request);

}  // namespace kvproof

#endif
