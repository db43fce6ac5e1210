/* stream_abi.h - the streams of a kernel library (C11), for the law of streams (README.md).
 *
 * A library whose launches are asynchronous may export kvproof_streams() beside kvproof_kernel().
 * Then quantize and decode are also run on a stream of their own, behind inputs that arrive on it
 * late, and have to give the same bits: a launch on another stream, or one that does not wait for
 * what is enqueued before it, reads poison.
 */
#ifndef KVPROOF_STREAM_ABI_H
#define KVPROOF_STREAM_ABI_H

#include "kernel_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvp_streams {
  uint32_t struct_bytes;
  /* A new stream that waits for no other one, the default stream least of all; memory->reset() ends
     it. */
  kvp_status (*open)(void** stream, char* err, size_t err_bytes);
  /* Enqueues on the stream: wait that long, then copy between two allocations. Returns at once. */
  kvp_status (*copy_later)(void* to, const void* from, uint64_t bytes, uint32_t delay_ms,
                           void* stream, char* err, size_t err_bytes);
} kvp_streams;

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const kvp_streams*
kvproof_streams(void);

#ifdef __cplusplus
}
#endif
#endif
