// fiber.cpp - see fiber.h.
#include "fiber.h"

#include <sys/mman.h>

// fiber_switch: rdi is where to store the stack pointer of the running fiber, rsi the stack pointer
// to continue with. fiber_call: rdi is the argument of the function rsi, rdx the stack pointer
// below which it runs.
asm(R"(
.text
.globl fiber_switch
.hidden fiber_switch
.type fiber_switch,@function
fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx
.size fiber_switch,.-fiber_switch
.globl fiber_call
.hidden fiber_call
.type fiber_call,@function
fiber_call:
  pushq %rbp
  movq %rsp,%rbp
  movq %rdx,%rsp
  andq $-16,%rsp
  call *%rsi
  movq %rbp,%rsp
  popq %rbp
  ret
.size fiber_call,.-fiber_call
)");

namespace simt {
namespace {

constexpr size_t kPage = 4096;
constexpr int kSavedRegisters = 6;

char* stacks = nullptr;
uint32_t ready = 0;  // stacks whose guard page is set

}  // namespace

bool stacks_reserve(uint32_t count) {
  if (stacks == nullptr) {
    void* p = mmap(nullptr, kThreadsMax * kStackBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return false;
    stacks = static_cast<char*>(p);
  }
  for (; ready < count; ready++) {
    if (mprotect(stacks + ready * kStackBytes, kPage, PROT_NONE) != 0) return false;
  }
  return true;
}

char* stack_low(uint32_t index) { return stacks + index * kStackBytes + kPage; }
char* stack_high(uint32_t index) { return stacks + (index + 1) * kStackBytes; }

void* stack_prepare(uint32_t index, void (*entry)()) {
  // Tops differ by cache lines, so that equal depths of 32 lanes do not share one cache set.
  const size_t colour = (index * 5 % 64) * 64;
  auto** sp = reinterpret_cast<void**>(stack_high(index) - 128 - colour);
  *--sp = nullptr;  // entry() sees a return address of 0 and a stack aligned as after a call
  *--sp = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedRegisters; i++) *--sp = nullptr;
  return sp;
}

}  // namespace simt
