/* glibc_2_31.c - what a compiler of today takes for granted and glibc 2.31 does not export.
 *
 * stat and its relatives were inline functions before 2.33; the kernel's struct stat is that of
 * glibc on x86-64. __libc_single_threaded (2.32) tells libstdc++ that it may leave out atomic
 * operations: 0 is the safe answer. arc4random (2.36) is what libstdc++ makes its random_device
 * of. All of it is hidden: every library has its own.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(__x86_64__) || !defined(__linux__)
#error "glibc_2_31.c is for Linux on x86-64"
#endif

#define HIDDEN __attribute__((visibility("hidden")))

HIDDEN char __libc_single_threaded = 0;

HIDDEN int stat(const char* path, struct stat* to) { return (int)syscall(SYS_stat, path, to); }
HIDDEN int fstat(int file, struct stat* to) { return (int)syscall(SYS_fstat, file, to); }
HIDDEN int fstat64(int file, struct stat64* to) { return (int)syscall(SYS_fstat, file, to); }
HIDDEN int lstat(const char* path, struct stat* to) { return (int)syscall(SYS_lstat, path, to); }

HIDDEN uint32_t arc4random(void) {
  uint32_t number = 0;
  while (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) {
  }
  return number;
}
