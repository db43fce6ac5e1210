// run.h - one run of a kernel on one problem: quantize, decode, and everything that can be said
// about them.
//
//   configure -> supports -> sizes -> allocate, poison -> quantize -> synchronize -> decode
//   -> synchronize -> emulator reports -> read back, compare
//
// No arithmetic on tensors: the outputs are handed over as the kernel left them. A run never throws
// for what a kernel does; the outcome says where it ended.
#ifndef KVPROOF_HOST_RUN_H
#define KVPROOF_HOST_RUN_H

#include <cstdint>
#include <string>
#include <vector>

#include "buffers.h"
#include "library.h"
#include "problem.h"

namespace kvproof {

struct Inputs {
  const uint16_t* q;  // fp16, (requests, query_heads, head_size)
  const uint16_t* k;  // fp16, (sum of tokens, kv_heads, head_size)
  const uint16_t* v;  // as k
};

struct Report {
  std::string kind;
  std::string text;
  std::string file;
  uint32_t line;
  uint32_t count;
};

struct RunOutcome {
  enum class Kind {
    ran,
    unsupported,   // supports() said so
    refused,       // an error for a problem that supports() accepted
    device_error,  // the device or its memory failed
  };
  Kind kind = Kind::ran;
  std::string reason;  // empty if kind is ran

  std::vector<uint8_t> cache;       // (pages, kv_heads, record bytes)
  std::vector<uint8_t> k_residual;  // fp16, (requests, residual tokens, kv_heads, head_size)
  std::vector<uint8_t> v_residual;  // as k_residual
  std::vector<uint8_t> output;      // fp16, (requests, query_heads, head_size)
  std::vector<uint8_t> lse;         // fp32, (requests, query_heads)

  std::vector<Violation> violations;
  std::vector<Report> reports;  // emulated kernels only, also after a failure
  uint64_t schedule_hash = 0;
};

RunOutcome run(const Library& library, const Problem& problem, const Inputs& inputs,
               const RunOptions& options);

}  // namespace kvproof

#endif
