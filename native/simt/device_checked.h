// device_checked.h - in an instrumented kernel, memcpy and its like are the emulator's.
//
// The thread instrumentation does not see them: calls of constant size are expanded inline and
// others go to the C library. An assembler name given before any use redirects every call, also
// those that the compiler makes by itself; -fno-builtin-memcpy and so on keep constant sizes from
// being expanded. Included by device.h before anything else.
#pragma once
#include <stddef.h>

extern "C" {
void* memcpy(void* __restrict to, const void* __restrict from, size_t size) noexcept
    __asm__("simt_memcpy");
void* memmove(void* to, const void* from, size_t size) noexcept __asm__("simt_memmove");
void* memset(void* to, int value, size_t size) noexcept __asm__("simt_memset");
}
