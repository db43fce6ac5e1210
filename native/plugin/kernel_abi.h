/* kernel_abi.h - the C interface between kvproof and a KV-cache attention kernel (C11, version 2).
 *
 * A kernel is a shared library that exports one function, kvproof_kernel(), which returns a table
 * of functions. Our own kernels (emulated and CUDA), seeded bugs and other people's kernels are all
 * loaded through this table; there is no second way in.
 *
 * Rules of the interface
 *  - Every function that can fail returns a kvp_status and writes one sentence to err (where, what
 *    was found, what is required), always NUL-terminated, never longer than err_bytes. A failing
 *    call touches no buffer. A limit stated as "problem.FIELD: VALUE, at most LIMIT" is the limit:
 *    LIMIT is not refused for that reason, and one more is.
 *  - The host allocates every buffer, by the sizes that sizes() reports, in the memory that
 *    `memory` describes. A kernel writes its outputs and its workspace and nothing else, and never
 *    frees.
 *  - "unsupported" is decided by supports(), before anything runs, never guessed from a message.
 *  - launches are asynchronous on `stream`; the host calls memory->synchronize() before it reads.
 *  - quantize, append and dequantize may be called in any order that makes sense; append exists for
 *    caches behind a page table only, since the pages of a cache without one would have to move.
 *  - Buffers that a call writes overlap no other buffer of the call: KVP_INVALID, where they do.
 */
#ifndef KVPROOF_KERNEL_ABI_H
#define KVPROOF_KERNEL_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVPROOF_ABI_VERSION 2u

/* Tokens of a record: a page holds one for each KV head. */
#define KVP_RECORD_TOKENS 128

typedef enum kvp_status {
  KVP_OK = 0,
  KVP_UNSUPPORTED = 1, /* a valid request that this kernel does not implement */
  KVP_INVALID = 2,     /* a wrong argument */
  KVP_DEVICE = 3,      /* the device reported an error; the process should be replaced */
} kvp_status;

typedef enum kvp_axis { KVP_AXIS_CHANNEL = 0, KVP_AXIS_TOKEN = 1 } kvp_axis;

/* Elements of q, k, v, of the residual windows, of the output and of dequantised values. */
typedef enum kvp_type { KVP_FP16 = 0, KVP_BF16 = 1 } kvp_type;

/* What is computed: shapes, the format of the cache, options. Sizes are counts, never bytes. */
typedef struct kvp_problem {
  uint32_t struct_bytes; /* sizeof(kvp_problem) of the caller */
  uint32_t requests;
  uint32_t query_heads; /* a multiple of kv_heads */
  uint32_t kv_heads;
  uint32_t head_size;
  uint32_t bits;       /* bits of a code */
  uint32_t group;      /* elements that share a scale and a zero */
  uint32_t k_axis;     /* kvp_axis: K has parameters per channel (groups of tokens) or per token */
  uint32_t splits;     /* parts that the tokens of a request are cut into; 0: the kernel chooses */
  float softmax_scale; /* multiplies q.k before the softmax; finite */
  const char* format;  /* name of the cache format, e.g. "bitdecoding" */
  /* Host memory, (requests): KV length of each request, 0 allowed. For append, the length with the
     new token; 0: no token for this request. */
  const int64_t* tokens;
  /* Of each request, at least 1: the last of its tokens, causal among themselves. Query token i of
     n sees tokens 0 .. tokens - n + i, none if that is negative: output 0, lse -Inf. */
  uint32_t query_tokens;
  uint32_t type;              /* kvp_type */
  uint32_t page_table_stride; /* entries of a request in buffers.page_table; 0: no table */
  uint32_t pool_pages;        /* pages of the cache behind a table; 0 without one */
  /* Host memory, (requests), or null: leading tokens whose records another request writes, or has
     written. quantize and append leave those pages alone. Multiples of KVP_RECORD_TOKENS. */
  const int64_t* kept;
  /* In elements, from one token (of q: query token) to the next and from one head to the next;
     multiples of 8, rows do not overlap. 0: dense, that is head_size from head to head, and from
     token to token the number of heads times the distance of heads. */
  uint64_t q_token_stride, q_head_stride;
  uint64_t k_token_stride, k_head_stride;
  uint64_t v_token_stride, v_head_stride;
} kvp_problem;

/* Sizes of the buffers that the kernel needs for a problem, in bytes. */
typedef struct kvp_sizes {
  uint64_t cache_bytes;     /* packed records of all requests, or of the pool */
  uint64_t residual_bytes;  /* of k_residual, and of v_residual */
  uint64_t workspace_bytes; /* scratch for decode; contents never survive a call */
  uint32_t pages;           /* of the cache: a record for each KV head */
  uint32_t splits;          /* the number of splits that decode will use */
} kvp_sizes;

/* Device pointers (host pointers for a kernel whose memory table is null), multiples of 16. A call
 * looks only at the buffers that it uses. Elements are of problem.type where nothing else is said.
 */
typedef struct kvp_buffers {
  const uint16_t* q; /* (requests, query_tokens, query_heads, head_size) */
  /* (sum of tokens, kv_heads, head_size), requests one after another, those with kept tokens in
     full; of append: (requests, kv_heads, head_size), the new tokens */
  const uint16_t* k;
  const uint16_t* v;    /* as k */
  uint8_t* cache;       /* (pages, kv_heads, record bytes) */
  uint16_t* k_residual; /* (requests, 128, kv_heads, head_size): the tail that is not packed */
  uint16_t* v_residual; /* as k_residual */
  uint8_t* workspace;
  uint16_t* output; /* (requests, query_tokens, query_heads, head_size) */
  float*
      lse; /* (requests, query_tokens, query_heads): natural log of sum of exp; -Inf: no tokens */
  /* (requests, page_table_stride): the page of each record of a request. Entries behind its records
     are not read. */
  const int32_t* page_table;
  uint16_t* k_out; /* (sum of tokens, kv_heads, head_size): dequantised */
  uint16_t* v_out; /* as k_out */
} kvp_buffers;

/* Facts about the device that the kernel runs on. */
typedef struct kvp_device {
  char name[128];
  char driver[64]; /* driver version, or "emulated" */
  uint32_t sm;     /* 90 for sm_90 */
  uint32_t multiprocessors;
} kvp_device;

/* Memory and streams of the device; null in kvp_kernel for a kernel that takes host pointers. */
typedef struct kvp_memory {
  kvp_status (*open)(uint32_t ordinal, kvp_device* device, char* err, size_t err_bytes);
  /* 256-byte aligned; name is for reports only. Returns null and an error when memory is exhausted.
   */
  void* (*allocate)(uint64_t bytes, const char* name, char* err, size_t err_bytes);
  kvp_status (*write)(void* device, const void* host, uint64_t bytes, char* err, size_t err_bytes);
  kvp_status (*read)(void* host, const void* device, uint64_t bytes, char* err, size_t err_bytes);
  /* Frees every allocation since open(). */
  void (*reset)(void);
  /* Waits for the stream and returns the first asynchronous error, if there was one. */
  kvp_status (*synchronize)(void* stream, char* err, size_t err_bytes);
  /* Says what a region holds, for kernels that track it (the emulator): 0 never written (reading it
     is a bug), 1 initialised, 2 redzone (any access is a bug). May be null. */
  void (*mark)(void* device, uint64_t bytes, int state);
} kvp_memory;

/* Emulated kernels only: scheduling of the next launches and what the checks saw. Null elsewhere.
 */
typedef struct kvp_schedule {
  uint32_t struct_bytes;
  uint64_t seed;
  const char* policy; /* "round-robin" "random" "starve" "pct" */
  const char* copies; /* "eager" "lazy" "random": when asynchronous copies land */
  uint32_t starved_warp;
  uint32_t sm; /* arithmetic and limits of this architecture: 80, 89, 90 */
} kvp_schedule;

typedef struct kvp_report {
  const char* kind; /* e.g. "race", "out of bounds", "uninitialised read", "deadlock" */
  const char* text; /* one sentence with block, thread, line and both parties */
  const char* file; /* may be empty */
  uint32_t line;
  uint32_t count;
} kvp_report;

typedef struct kvp_emulator {
  int checked; /* 1: every access is checked */
  kvp_status (*configure)(const kvp_schedule* schedule, char* err, size_t err_bytes);
  /* Reports since configure(); valid until the next call of any function. */
  uint32_t (*report_count)(void);
  kvp_status (*report)(uint32_t index, kvp_report* report);
  /* A hash of the schedule that ran: equal seeds give equal hashes. */
  uint64_t (*schedule_hash)(void);
} kvp_emulator;

typedef struct kvp_kernel {
  uint32_t abi_version; /* KVPROOF_ABI_VERSION of the library */
  uint32_t struct_bytes;
  const char* name;
  /* JSON: formats, bits, groups, head sizes, record layout, arithmetic (see
   * fuzz/kernels/native.ts). */
  const char* capabilities;
  kvp_status (*supports)(const kvp_problem* problem, char* err, size_t err_bytes);
  kvp_status (*sizes)(const kvp_problem* problem, kvp_sizes* sizes, char* err, size_t err_bytes);
  /* k, v -> cache, k_residual, v_residual */
  kvp_status (*quantize)(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                         char* err, size_t err_bytes);
  /* q, cache, k_residual, v_residual -> output, lse; workspace is scratch */
  kvp_status (*decode)(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                       char* err, size_t err_bytes);
  const kvp_memory* memory;
  const kvp_emulator* emulator;
  /* May be null. k, v -> the residual windows; one that is full is packed, and nothing that is
     packed is quantised again. Requires a page table. */
  kvp_status (*append)(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                       char* err, size_t err_bytes);
  /* May be null. cache, k_residual, v_residual -> k_out, v_out */
  kvp_status (*dequantize)(const kvp_problem* problem, const kvp_buffers* buffers, void* stream,
                           char* err, size_t err_bytes);
} kvp_kernel;

/* The one exported symbol. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const kvp_kernel*
kvproof_kernel(void);

#ifdef __cplusplus
}
#endif
#endif
