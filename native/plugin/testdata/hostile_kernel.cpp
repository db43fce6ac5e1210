// hostile_kernel.cpp: the C++ template with one fault, -DFAULT=NAME, for the tests of conformance.
// Compiled by fuzz/conform/conform.test.ts; never part of the product.
#define kvproof_kernel template_kernel
#include "../templates/kernel.cpp"
#undef kvproof_kernel
extern "C" const kvp_kernel* kvproof_kernel(void);

#include <unistd.h>

#include <cstdlib>

namespace {
enum Fault {
  NONE,
  WRITES_PAST,
  CHANGES_INPUT,
  NONDETERMINISTIC,
  HANGS,
  ABORTS,
  ACCEPTS_EVERYTHING,
  REFUSES_AT_RUN,
  WRONG_CODES,
  DROPS_TOKEN,
  LONG_CACHE,
  SHORT_CACHE
};

int calls = 0;

kvp_status hostile_supports(const kvp_problem* p, char* err, size_t size) {
  return FAULT == ACCEPTS_EVERYTHING ? KVP_OK : supports(p, err, size);
}

kvp_status hostile_sizes(const kvp_problem* p, kvp_sizes* out, char* err, size_t size) {
  const kvp_status status = sizes(p, out, err, size);
  if (FAULT == LONG_CACHE) out->cache_bytes += 128;
  if (FAULT == SHORT_CACHE && out->cache_bytes > 0) out->cache_bytes -= 128;
  return status;
}

kvp_status hostile_quantize(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                            size_t size) {
  const kvp_status status = quantize(p, b, stream, err, size);
  if (status == KVP_OK && FAULT == WRONG_CODES && p->tokens[0] >= kTokens) b->cache[3] ^= 1;
  return status;
}

kvp_status hostile_decode(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                          size_t size) {
  ++calls;
  if (FAULT == HANGS) sleep(3600);
  if (FAULT == ABORTS) std::abort();
  if (FAULT == REFUSES_AT_RUN) return no(err, size, "not today");
  kvp_problem own = *p;
  std::vector<int64_t> shorter(p->tokens, p->tokens + p->requests);
  if (FAULT == DROPS_TOKEN && shorter[0] % kTokens > 1) own.tokens = (--shorter[0], shorter.data());
  const kvp_status status = decode(&own, b, stream, err, size);
  if (status != KVP_OK) return status;
  const size_t elements = size_t{p->requests} * p->query_heads * kSize;
  if (FAULT == WRITES_PAST) b->output[elements] = 1;
  if (FAULT == CHANGES_INPUT) const_cast<uint16_t*>(b->q)[0] ^= 1;
  if (FAULT == NONDETERMINISTIC) b->output[0] = static_cast<uint16_t>(b->output[0] ^ (calls & 1));
  return status;
}
}  // namespace

const kvp_kernel* kvproof_kernel(void) {
  static kvp_kernel kernel = *template_kernel();
  kernel.supports = hostile_supports;
  kernel.sizes = hostile_sizes;
  kernel.quantize = hostile_quantize;
  kernel.decode = hostile_decode;
  return &kernel;
}
