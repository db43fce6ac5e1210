/* limits_kernel.c - a kernel library that states limits when it refuses, for tests of what the host
 * makes of them: right by default. -DFAULT=NAME: one of the faults below. It runs nothing.
 */
#include <stdio.h>
#include <string.h>

#include "../../plugin/kernel_abi.h"

enum fault { NO_FAULT, REFUSES_ITS_LIMIT, EXCEEDS_ITS_LIMIT, TEXT_TOO_LONG, ENDLESS_TEXT, TOO_FAR };
#ifndef FAULT
#define FAULT NO_FAULT
#endif

enum { SPLITS_MAX = 12, TOKENS_MAX = 4096 };

static kvp_status supports(const kvp_problem* p, char* err, size_t err_bytes) {
  if (p->requests == 0 || p->tokens == NULL) {
    snprintf(err, err_bytes, "problem.requests: 0, at least 1 is required");
    if (FAULT == ENDLESS_TEXT) memset(err, 'x', err_bytes);
    if (FAULT == TEXT_TOO_LONG) err[err_bytes] = '\0';
    return KVP_INVALID;
  }
  if (p->splits > SPLITS_MAX + (FAULT == EXCEEDS_ITS_LIMIT) - (FAULT == REFUSES_ITS_LIMIT)) {
    snprintf(err, err_bytes, "problem.splits: %u, at most %u", p->splits, SPLITS_MAX);
    return KVP_UNSUPPORTED;
  }
  for (uint32_t r = 0; r < p->requests + (FAULT == TOO_FAR); ++r) {
    if (p->tokens[r] <= TOKENS_MAX) continue;
    snprintf(err, err_bytes, "problem.tokens[%u]: %lld, at most %d", r, (long long)p->tokens[r],
             TOKENS_MAX);
    return KVP_UNSUPPORTED;
  }
  return KVP_OK;
}

static kvp_status sizes(const kvp_problem* p, kvp_sizes* out, char* err, size_t err_bytes) {
  memset(out, 0, sizeof(*out));
  return supports(p, err, err_bytes);
}

static kvp_status nothing(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                          size_t err_bytes) {
  (void)b, (void)stream;
  return supports(p, err, err_bytes);
}

const kvp_kernel* kvproof_kernel(void) {
  static kvp_kernel table;
  table.abi_version = KVPROOF_ABI_VERSION;
  table.struct_bytes = sizeof(kvp_kernel);
  table.name = "limits";
  table.capabilities = "{}";
  table.supports = supports;
  table.sizes = sizes;
  table.quantize = nothing;
  table.decode = nothing;
  return &table;
}
