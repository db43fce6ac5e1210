// run.h - one run of a kernel on one problem: quantize, append, decode, dequantize, and everything
// that can be said about them.
//
//   configure -> supports -> sizes -> allocate, poison -> quantize -> append, step by step ->
//   decode
//   -> dequantize -> emulator reports -> read back, compare
//
// Appends follow one another on the stream; every other stage is waited for. From decode on, the
// cache is an input. With own_stream, quantize and decode follow one another on a new stream
// instead, behind inputs that arrive late.
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
  const uint16_t* q;  // (requests, query_tokens, query_heads, head_size), of problem.type
  const uint16_t* k;  // (sum of tokens, kv_heads, head_size)
  const uint16_t* v;  // as k
  const int32_t* page_table = nullptr;  // (requests, page_table_stride)
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
    unsupported,   // supports() said so, or the device is too small for the pages skipped
    refused,       // an error for a problem that supports() accepted
    device_error,  // the device or its memory failed
  };
  Kind kind = Kind::ran;
  std::string reason;  // empty if kind is ran

  std::vector<uint8_t> cache;       // (pages, kv_heads, record bytes)
  std::vector<uint8_t> k_residual;  // (requests, residual tokens, kv_heads, head_size)
  std::vector<uint8_t> v_residual;  // as k_residual
  std::vector<uint8_t> output;      // (requests, query_tokens, query_heads, head_size)
  std::vector<uint8_t> lse;         // fp32, (requests, query_tokens, query_heads)
  bool dequantized = false;
  std::vector<uint8_t> k_values;  // (sum of tokens, kv_heads, head_size), if dequantized
  std::vector<uint8_t> v_values;  // as k_values

  std::vector<Violation> violations;
  std::vector<Report> reports;  // emulated kernels only, also after a failure
  uint32_t pages = 0;           // of the cache, that sizes() answered
  uint64_t schedule_hash = 0;
  uint32_t splits = 0;  // that decode used
  // Of all decodes: CPU time of this thread for an emulated kernel, else the clock on the wall.
  double decode_seconds = 0;
  bool timed = false;
};

RunOutcome run(const Library& library, const Problem& problem, const Inputs& inputs,
               const RunOptions& options);

}  // namespace kvproof

#endif
