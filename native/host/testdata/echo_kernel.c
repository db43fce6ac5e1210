/* echo_kernel.c - a kernel library for tests of the host, right by default and wrong on request.
 *
 * It computes nothing: quantize copies k and v into the cache and the tails into the residual
 * windows, decode copies q to the output and the KV length to lse. So a test knows every byte that
 * has to arrive. With -DPAGED it is another kernel, whose cache is a log of what it was called
 * with. -DFAULT=NAME                  one of the faults below, e.g. -DFAULT=ABORT_IN_DECODE
 *   -DEMULATED                    with a memory and an emulator table: its one report repeats the
 *                                 schedule
 *   -DSTREAMS                     with a table of streams that lacks a function
 *   -Dkvproof_kernel=other_name   a library without the required symbol
 * Compiled by fuzz/kernels tests with the C compiler of the machine; never part of the product.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../plugin/stream_abi.h"

enum fault {
  NO_FAULT,
  WRONG_VERSION,
  SHORT_TABLE,
  NULL_TABLE,
  NULL_DECODE,
  NULL_NAME,
  BAD_CAPABILITIES,
  NO_DEVICE,
  WRITE_PAST_OUTPUT,
  WRITE_BEFORE_CACHE,
  CHANGE_KEYS,
  CHANGE_CACHE,
  SKIP_LAST_OUTPUT,
  SKIP_LSE,
  HUGE_CACHE,
  ODD_RESIDUAL,
  REFUSE_DECODE,
  FAIL_DEVICE,
  FAIL_SILENTLY,
  FILL_ERROR_TEXT,
  ABORT_IN_DECODE,
  SEGFAULT_IN_DECODE,
  HANG_IN_DECODE,
  NO_APPEND
};
#ifndef FAULT
#define FAULT NO_FAULT
#endif

enum { RECORD_TOKENS = 128 };

static int64_t sum_of_tokens(const kvp_problem* p) {
  int64_t sum = 0;
  for (uint32_t r = 0; r < p->requests; ++r) sum += p->tokens[r];
  return sum;
}

static size_t token_bytes(const kvp_problem* p) {
  return (size_t)p->kv_heads * p->head_size * sizeof(uint16_t);
}

static kvp_status supports(const kvp_problem* p, char* err, size_t err_bytes) {
  if (p->struct_bytes != sizeof(kvp_problem)) return KVP_INVALID;
  if (p->bits == 4) return KVP_OK;
  snprintf(err, err_bytes, "bits: %u found, 4 is required", p->bits);
  return KVP_UNSUPPORTED;
}

static kvp_status sizes(const kvp_problem* p, kvp_sizes* out, char* err, size_t err_bytes) {
  (void)err, (void)err_bytes;
  out->cache_bytes = 2 * (uint64_t)sum_of_tokens(p) * token_bytes(p);
  out->residual_bytes = (uint64_t)p->requests * RECORD_TOKENS * token_bytes(p);
  out->workspace_bytes = 64;
  if (FAULT == HUGE_CACHE) out->cache_bytes = UINT64_MAX - 4096;
  if (FAULT == ODD_RESIDUAL) out->residual_bytes += 1;
  out->splits = 1;
  return KVP_OK;
}

static kvp_status quantize(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                           size_t err_bytes) {
  (void)stream, (void)err, (void)err_bytes;
  const size_t bytes = (size_t)sum_of_tokens(p) * token_bytes(p);
  memcpy(b->cache, b->k, bytes);
  memcpy(b->cache + bytes, b->v, bytes);
  size_t first = 0; /* token of the request at hand */
  for (uint32_t r = 0; r < p->requests; ++r) {
    const size_t packed = (size_t)p->tokens[r] / RECORD_TOKENS * RECORD_TOKENS;
    const size_t from = (first + packed) * token_bytes(p) / sizeof(uint16_t);
    const size_t to = r * RECORD_TOKENS * token_bytes(p) / sizeof(uint16_t);
    const size_t tail = ((size_t)p->tokens[r] - packed) * token_bytes(p);
    memcpy(b->k_residual + to, b->k + from, tail);
    memcpy(b->v_residual + to, b->v + from, tail);
    first += (size_t)p->tokens[r];
  }
  if (FAULT == WRITE_BEFORE_CACHE) b->cache[-3] ^= 1;
  if (FAULT == CHANGE_KEYS) ((uint16_t*)b->k)[1] ^= 1;
  return KVP_OK;
}

static kvp_status failed_decode(char* err, size_t err_bytes) {
  if (FAULT == REFUSE_DECODE) {
    snprintf(err, err_bytes, "decode: the grid is too large");
    return KVP_INVALID;
  }
  if (FAULT == FAIL_DEVICE) {
    snprintf(err, err_bytes, "decode: an illegal memory access was encountered");
    return KVP_DEVICE;
  }
  if (FAULT == FAIL_SILENTLY) return (kvp_status)77;
  if (FAULT == FILL_ERROR_TEXT) {
    memset(err, 'x', err_bytes); /* no terminator */
    return KVP_INVALID;
  }
  if (FAULT == ABORT_IN_DECODE) abort();
  if (FAULT == SEGFAULT_IN_DECODE) *(volatile int*)8 = 1;
  while (FAULT == HANG_IN_DECODE) pause();
  return KVP_OK;
}

static kvp_status decode(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                         size_t err_bytes) {
  (void)stream;
  const kvp_status status = failed_decode(err, err_bytes);
  if (status != KVP_OK) return status;
  const size_t rows = (size_t)p->requests * p->query_heads;
  size_t elements = rows * p->head_size;
  if (FAULT == SKIP_LAST_OUTPUT) elements -= 1;
  memcpy(b->output, b->q, elements * sizeof(uint16_t));
  for (size_t i = 0; i < rows && FAULT != SKIP_LSE; ++i) {
    b->lse[i] = (float)p->tokens[i / p->query_heads];
  }
  memset(b->workspace, 0, 64);
  if (FAULT == WRITE_PAST_OUTPUT) b->output[elements] ^= 1;
  if (FAULT == CHANGE_CACHE) b->cache[5] ^= 1;
  return KVP_OK;
}

/* ---- -DPAGED: a cache of one word for each element of K behind the page table; append and
 * dequantize, rows apart, and lse counts what kept tokens say ---- */

#ifdef PAGED

static uint64_t stride_or(uint64_t stride, uint64_t dense) { return stride != 0 ? stride : dense; }

static uint64_t k_token_stride(const kvp_problem* p) {
  return stride_or(p->k_token_stride, p->kv_heads * stride_or(p->k_head_stride, p->head_size));
}

/* Word (token of the request, head, channel) of the cache. */
static uint16_t* cached(const kvp_problem* p, const kvp_buffers* b, uint32_t request, int64_t token,
                        uint32_t head) {
  const int32_t* pages = b->page_table + (size_t)request * p->page_table_stride;
  const size_t row = (size_t)pages[token / RECORD_TOKENS] * RECORD_TOKENS + token % RECORD_TOKENS;
  return (uint16_t*)b->cache + (row * p->kv_heads + head) * p->head_size;
}

/* One token into its page if its record is complete with `tokens`, else into the window. */
static void put_token(const kvp_problem* p, const kvp_buffers* b, uint32_t request, int64_t token,
                      int64_t tokens, const uint16_t* k) {
  const uint64_t row = stride_or(p->k_head_stride, p->head_size);
  for (uint32_t head = 0; head < p->kv_heads; ++head) {
    const size_t window = ((size_t)request * RECORD_TOKENS + token % RECORD_TOKENS) * p->kv_heads;
    uint16_t* to = token < tokens / RECORD_TOKENS * RECORD_TOKENS
                       ? cached(p, b, request, token, head)
                       : b->k_residual + (window + head) * p->head_size;
    memcpy(to, k + head * row, p->head_size * sizeof(uint16_t));
  }
}

static kvp_status paged_quantize(const kvp_problem* p, const kvp_buffers* b, void* stream,
                                 char* err, size_t err_bytes) {
  (void)stream, (void)err, (void)err_bytes;
  const uint64_t row = k_token_stride(p);
  const uint16_t* k = b->k;
  for (uint32_t r = 0; r < p->requests; k += p->tokens[r++] * row) {
    for (int64_t token = p->kept == NULL ? 0 : p->kept[r]; token < p->tokens[r]; ++token) {
      put_token(p, b, r, token, p->tokens[r], k + token * row);
    }
  }
  return KVP_OK;
}

static kvp_status paged_append(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                               size_t err_bytes) {
  (void)stream, (void)err, (void)err_bytes;
  const uint64_t row = k_token_stride(p);
  for (uint32_t r = 0; r < p->requests; ++r) {
    const int64_t tokens = p->tokens[r];
    if (tokens == 0) continue;
    put_token(p, b, r, tokens - 1, 0, b->k + r * row);
    const int64_t kept = p->kept == NULL ? 0 : p->kept[r];
    if (tokens % RECORD_TOKENS != 0 || tokens <= kept) continue;
    const size_t elements = (size_t)RECORD_TOKENS * p->kv_heads * p->head_size;
    memcpy(cached(p, b, r, tokens - RECORD_TOKENS, 0), b->k_residual + r * elements, 2 * elements);
  }
  return KVP_OK;
}

static kvp_status paged_dequantize(const kvp_problem* p, const kvp_buffers* b, void* stream,
                                   char* err, size_t err_bytes) {
  (void)stream, (void)err, (void)err_bytes;
  const size_t token_words = (size_t)p->kv_heads * p->head_size;
  uint16_t* k = b->k_out;
  for (uint32_t r = 0; r < p->requests; ++r) {
    for (int64_t token = 0; token < p->tokens[r]; ++token, k += token_words) {
      const bool packed = token < p->tokens[r] / RECORD_TOKENS * RECORD_TOKENS;
      const size_t at = ((size_t)r * RECORD_TOKENS + token % RECORD_TOKENS) * token_words;
      memcpy(k, packed ? cached(p, b, r, token, 0) : b->k_residual + at, 2 * token_words);
    }
  }
  memset(b->v_out, 0, (size_t)sum_of_tokens(p) * token_words * 2);
  return KVP_OK;
}

static kvp_status paged_sizes(const kvp_problem* p, kvp_sizes* out, char* err, size_t err_bytes) {
  const kvp_status status = sizes(p, out, err, err_bytes);
  out->cache_bytes = (uint64_t)p->pool_pages * RECORD_TOKENS * token_bytes(p);
  return status;
}

/* Rows of q without what lies between them; the KV length times the query token, from 1. */
static kvp_status paged_decode(const kvp_problem* p, const kvp_buffers* b, void* stream, char* err,
                               size_t err_bytes) {
  (void)stream, (void)err, (void)err_bytes;
  const size_t rows = (size_t)p->requests * p->query_tokens * p->query_heads;
  const uint64_t head = stride_or(p->q_head_stride, p->head_size);
  const uint64_t row = stride_or(p->q_token_stride, p->query_heads * head);
  for (size_t i = 0; i < rows; ++i) {
    const uint16_t* q = b->q + i / p->query_heads * row + i % p->query_heads * head;
    memcpy(b->output + i * p->head_size, q, p->head_size * sizeof(uint16_t));
    const size_t token = i / p->query_heads;
    b->lse[i] = (float)(p->tokens[token / p->query_tokens] * (token % p->query_tokens + 1));
  }
  return KVP_OK;
}
#endif

#ifdef EMULATED

enum { ALLOCATIONS_MAX = 24 };
static void* allocations[ALLOCATIONS_MAX];
static int allocation_count;
static char report_text[256];
static uint64_t bytes_marked[3]; /* by state: never written, initialised, redzone */

static kvp_status memory_open(uint32_t ordinal, kvp_device* device, char* err, size_t err_bytes) {
  if (FAULT == NO_DEVICE) {
    snprintf(err, err_bytes, "device %u: no device answers", ordinal);
    return KVP_DEVICE;
  }
  memset(device->name, 'e', sizeof(device->name)); /* no terminator */
  strcpy(device->driver, "emulated");
  device->sm = 90;
  return KVP_OK;
}

static void* memory_allocate(uint64_t bytes, const char* name, char* err, size_t err_bytes) {
  (void)name;
  if (allocation_count == ALLOCATIONS_MAX) {
    snprintf(err, err_bytes, "more than %d allocations", ALLOCATIONS_MAX);
    return NULL;
  }
  return allocations[allocation_count++] = aligned_alloc(256, (bytes + 255) / 256 * 256);
}

static kvp_status memory_copy(void* to, const void* from, uint64_t bytes, char* err,
                              size_t err_bytes) {
  (void)err, (void)err_bytes;
  memcpy(to, from, bytes);
  return KVP_OK;
}

static void memory_reset(void) {
  while (allocation_count > 0) free(allocations[--allocation_count]);
}

static kvp_status memory_synchronize(void* stream, char* err, size_t err_bytes) {
  (void)stream, (void)err, (void)err_bytes;
  return KVP_OK;
}

static void memory_mark(void* device, uint64_t bytes, int state) {
  (void)device;
  bytes_marked[state] += bytes;
}

static kvp_status configure(const kvp_schedule* s, char* err, size_t err_bytes) {
  (void)err, (void)err_bytes;
  memset(bytes_marked, 0, sizeof(bytes_marked));
  snprintf(report_text, sizeof(report_text), "%s %s seed %llu warp %u sm %u", s->policy, s->copies,
           (unsigned long long)s->seed, s->starved_warp, s->sm);
  return KVP_OK;
}

static uint32_t report_count(void) { return 2; }

static kvp_status report(uint32_t index, kvp_report* out) {
  static char marked[128];
  snprintf(marked, sizeof(marked), "%llu never written, %llu initialised, %llu redzone",
           (unsigned long long)bytes_marked[0], (unsigned long long)bytes_marked[1],
           (unsigned long long)bytes_marked[2]);
  *out = index == 0 ? (kvp_report){"schedule", report_text, "decode.cu", 7, 3}
                    : (kvp_report){"marks", marked, NULL, 0, 1};
  return KVP_OK;
}

static uint64_t schedule_hash(void) { return 0xABCDu; }

static const kvp_memory memory = {memory_open,  memory_allocate,    memory_copy, memory_copy,
                                  memory_reset, memory_synchronize, memory_mark};
static const kvp_emulator emulator = {1, configure, report_count, report, schedule_hash};
#define MEMORY &memory
#define EMULATOR &emulator
#else
#define MEMORY NULL
#define EMULATOR NULL
#endif

static const char capabilities[] =
    "{\"formats\":[{\"format\":\"bitdecoding\",\"kAxis\":[\"channel\"],\"bits\":[4],"
    "\"groups\":[128,64,32],\"headSizes\":[128]}],\"layout\":\"record128\",\"tokensMax\":1000000,"
    "\"headsPerKvMax\":64,\"arithmetic\":null,\"tiles\":[8,128],\"deterministic\":true}";

const kvp_kernel* kvproof_kernel(void) {
  static kvp_kernel table;
  table.abi_version = FAULT == WRONG_VERSION ? 999 : KVPROOF_ABI_VERSION;
  table.struct_bytes = FAULT == SHORT_TABLE ? 16 : sizeof(kvp_kernel);
  table.name = FAULT == NULL_NAME ? NULL : "echo";
  table.capabilities = FAULT == BAD_CAPABILITIES ? "{\"formats\":7}" : capabilities;
  table.supports = supports;
  table.sizes = sizes;
  table.quantize = quantize;
  table.decode = FAULT == NULL_DECODE ? NULL : decode;
  table.memory = MEMORY;
  table.emulator = EMULATOR;
#ifdef PAGED
  table.sizes = paged_sizes;
  table.quantize = paged_quantize;
  table.decode = paged_decode;
  if (FAULT != NO_APPEND) table.append = paged_append;
  table.dequantize = paged_dequantize;
#endif
  return FAULT == NULL_TABLE ? NULL : &table;
}

#ifdef STREAMS
const kvp_streams* kvproof_streams(void) {
  static const kvp_streams table = {sizeof(kvp_streams), NULL, NULL};
  return &table;
}
#endif
