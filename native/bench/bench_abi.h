/* bench_abi.h - the C interface of libkvproof_bench.so: one exported function, kvproof_bench().
 *
 * One bench exists at a time. prepare() or step_prepare() allocates everything on the current
 * device and fills it; release() frees it. Errors are a status and one sentence, as in
 * kernel_abi.h. Times are in milliseconds, one for each run, in the order of the runs; the second
 * level cache is overwritten before each.
 */
#ifndef KVPROOF_BENCH_ABI_H
#define KVPROOF_BENCH_ABI_H

#include "../plugin/kernel_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KVPROOF_BENCH_VERSION 1u

typedef enum kvp_bench_op {
  KVP_BENCH_QUANTIZE = 0,
  KVP_BENCH_APPEND = 1, /* the last token of every request, into a cache that has it already */
  KVP_BENCH_DECODE = 2,
} kvp_bench_op;

/* One KV head of one request and the query heads that read it; host memory of the caller. */
typedef struct kvp_bench_head {
  uint16_t* q;          /* (query heads of the KV head, head_size) */
  uint16_t* k;          /* (tokens, head_size) */
  uint16_t* v;          /* as k */
  uint8_t* cache;       /* (records, record bytes) */
  uint16_t* k_residual; /* (128, head_size) */
  uint16_t* v_residual; /* as k_residual */
  uint16_t* output;     /* as q */
  float* lse;           /* (query heads of the KV head) */
} kvp_bench_head;

/* A model: layers of attention and a gated feed-forward network, all of them with random weights.
 */
typedef struct kvp_bench_model {
  uint32_t layers;
  uint32_t hidden;
  uint32_t feed_forward;
} kvp_bench_model;

typedef struct kvp_bench {
  uint32_t version;
  uint32_t struct_bytes;
  /* GB/s of copying (bytes read and written) and of reading, the median of `runs`. */
  kvp_status (*ceilings)(uint32_t runs, double* copy, double* read, char* err, size_t err_bytes);
  /* Inputs from `seed`; quantises (with_append: all but the last token of each request, which is
     appended) and decodes once. problem: query_tokens 1, no page table: the bench makes one for
     append. */
  kvp_status (*prepare)(const kvp_kernel* kernel, const kvp_problem* problem, int with_append,
                        uint64_t seed, kvp_sizes* sizes, char* err, size_t err_bytes);
  kvp_status (*read_head)(uint32_t request, uint32_t kv_head, const kvp_bench_head* head, char* err,
                          size_t err_bytes);
  kvp_status (*time)(kvp_bench_op op, uint32_t runs, double* ms, char* err, size_t err_bytes);
  /* problem: of one layer, one request. Checks its own matrix-vector products against sums in
     double. weight_bytes, cache_bytes: what a step has to read at least. */
  kvp_status (*step_prepare)(const kvp_kernel* kernel, const kvp_problem* problem,
                             const kvp_bench_model* model, uint64_t seed, uint64_t* weight_bytes,
                             uint64_t* cache_bytes, char* err, size_t err_bytes);
  kvp_status (*step_time)(uint32_t runs, double* ms, char* err, size_t err_bytes);
  void (*release)(void);
} kvp_bench;

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const kvp_bench*
kvproof_bench(void);

#ifdef __cplusplus
}
#endif
#endif
