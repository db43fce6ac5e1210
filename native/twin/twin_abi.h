/* twin_abi.h - the C interface of the reference in native code: whole cases judged where the kernel
 * runs, without their tensors ever leaving it.
 *
 * A case is made from its recipes, run twice with different poison through the kernel's own table
 * (kernel_abi.h), and compared with what reference/ says: codes and parameters, output and lse
 * within the L1 bound, redzones, unwritten and differing bytes. The verdict is a handful of counts.
 * What it says is never a finding: whoever calls judges a case that did not pass with the
 * reference itself, and compares the two on a sample of cases (read).
 */
#ifndef KVPROOF_TWIN_ABI_H
#define KVPROOF_TWIN_ABI_H

#include "../plugin/kernel_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KVPROOF_TWIN_VERSION 2u

/* A drawn recipe (properties/recipe.ts); distribution: place in DISTRIBUTIONS. */
typedef struct kvp_recipe {
  uint32_t distribution;
  uint32_t seed;
  int32_t scale;
  int32_t offset;
} kvp_recipe;

/* Arithmetic of reference/arithmetic.ts, operands "folded". */
typedef struct kvp_arithmetic {
  uint32_t fraction;
  uint32_t fused_products;
  uint32_t sum_lanes;
  uint32_t rescale_tokens;
} kvp_arithmetic;

typedef struct kvp_twin_case {
  const kvp_problem* problem;
  const int32_t* page_table; /* host memory, (requests, page_table_stride), or null */
  kvp_recipe q, k, v;
} kvp_twin_case;

typedef struct kvp_twin_verdict {
  kvp_status status;    /* not KVP_OK: the case was not judged, text says why */
  uint64_t wrong_codes; /* codes, parameters and plain words that differ from the format's */
  uint64_t redzone_bytes;
  uint64_t changed_inputs; /* buffers that a call had only to read and that hold other bytes now */
  uint64_t unwritten_bytes;
  uint64_t differing_bytes; /* of two runs, where bytes must be defined */
  uint64_t stray_bytes;     /* written in pages of no request */
  uint64_t rejected;        /* elements of output and lse outside of their bounds */
  uint64_t elements;        /* of output and lse */
  uint64_t values;          /* of k and v */
  uint64_t defined_bytes;
  double ratio; /* largest error over its bound */
  char text[240];
} kvp_twin_verdict;

/* Where read() puts what it has of the last case; any may be null. */
typedef struct kvp_twin_arrays {
  uint16_t *q, *k, *v; /* dense */
  uint8_t* cache;
  uint16_t *k_residual, *v_residual, *output;
  float* lse;
  double *reference, *radius, *bound, *alternative; /* as output */
  double *reference_lse, *lse_bound, *value_max;    /* as lse */
  uint8_t* guarded;                                 /* as lse: reference/bound.ts, BoundResult */
} kvp_twin_arrays;

typedef struct kvp_twin {
  uint32_t version;
  uint32_t struct_bytes;
  /* Judges cases one after another on several streams; device errors come back as KVP_DEVICE. */
  kvp_status (*judge)(const kvp_kernel* kernel, const kvp_arithmetic* arithmetic,
                      const kvp_twin_case* cases, uint32_t count, kvp_twin_verdict* verdicts,
                      char* err, size_t err_bytes);
  kvp_status (*read)(const kvp_twin_arrays* arrays, char* err, size_t err_bytes);
  void (*release)(void);
} kvp_twin;

/* The one exported symbol. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const kvp_twin*
kvproof_twin(void);

#ifdef __cplusplus
}
#endif
#endif
