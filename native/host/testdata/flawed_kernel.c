/* flawed_kernel.c - the emulated kernels, except for one fault that a reference has to notice.
 *
 * Wraps the library named by KVPROOF_KERNEL_LIBRARY. -DFLAW=NAME, one of the faults below. Its
 * buffers are host memory, so that the faults are plain stores. Compiled by the tests of
 * fuzz/kernels with the C compiler of the machine; never part of the product.
 */
#include <dlfcn.h>
#include <stdlib.h>

#include "../../plugin/kernel_abi.h"

enum flaw {
  NONE,
  WRONG_OUTPUT,
  WRONG_LSE,
  WRONG_CODE,
  WRONG_WINDOW,
  PAST_OUTPUT,
  CHANGED_QUERY,
  NOTHING_WRITTEN,
  EVERY_OTHER_RUN,
  STRAY_PAGE
};
#ifndef FLAW
#define FLAW NONE
#endif

static const kvp_kernel* real(void) {
  static const kvp_kernel* kernel;
  const char* path = getenv("KVPROOF_KERNEL_LIBRARY");
  if (kernel != NULL || path == NULL) return kernel;
  void* image = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void* symbol = image == NULL ? NULL : dlsym(image, "kvproof_kernel");
  if (symbol != NULL) kernel = ((const kvp_kernel* (*)(void))symbol)();
  return kernel;
}

static kvp_status quantize(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                           size_t err_bytes) {
  const kvp_status status = real()->quantize(p, b, stream, err, err_bytes);
  if (FLAW == WRONG_WINDOW) b->k_residual[0] ^= 1;
  kvp_sizes sizes;
  real()->sizes(p, &sizes, err, err_bytes);
  const uint64_t page = sizes.cache_bytes / sizes.pages;
  if (FLAW == WRONG_CODE) b->cache[(uint64_t)b->page_table[0] * page] ^= 1;
  if (FLAW == STRAY_PAGE) {
    for (uint32_t i = 0; i < sizes.pages; i++) {
      if ((int32_t)i != b->page_table[0]) b->cache[i * page] = 7;
    }
  }
  return status;
}

static kvp_status decode(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                         size_t err_bytes) {
  static int runs;
  if (FLAW == NOTHING_WRITTEN) return KVP_OK;
  const kvp_status status = real()->decode(p, b, stream, err, err_bytes);
  const uint64_t elements = (uint64_t)p->requests * p->query_tokens * p->query_heads * p->head_size;
  if (FLAW == WRONG_OUTPUT) b->output[1] ^= 0x0400;
  if (FLAW == WRONG_LSE) b->lse[0] += 1;
  if (FLAW == PAST_OUTPUT) b->output[elements] = 0;
  if (FLAW == CHANGED_QUERY) ((uint16_t*)b->q)[3] ^= 1;
  if (FLAW == EVERY_OTHER_RUN) b->output[2] ^= (uint16_t)(runs++ & 1);
  return status;
}

const kvp_kernel* kvproof_kernel(void) {
  static kvp_kernel kernel;
  if (real() == NULL) return NULL;
  kernel = *real();
  kernel.quantize = quantize;
  kernel.decode = decode;
  return &kernel;
}
