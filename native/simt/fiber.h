// fiber.h - threads of a block as fibers: a stack each and a switch of six registers.
//
// fiber_switch saves the callee-saved registers of the System V x86-64 ABI on the running stack,
// stores the stack pointer and continues on another one (about 3 ns). What it does not save is the
// rounding mode and the signal mask; kernels change neither. Return addresses are left by a jump,
// not by ret, so that the processor's return predictor is not poisoned; a shadow stack (CET) is not
// supported.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" void fiber_switch(void** save, void* load);
// Calls function(argument) on the stack below `stack`, which belongs to nobody that runs.
extern "C" void fiber_call(void* argument, void (*function)(void*), void* stack);

namespace simt {

constexpr size_t kStackBytes = 64 * 1024;  // the decode kernels need below 8 KiB
constexpr uint32_t kThreadsMax = 1024;     // of a block, on every architecture

// Stacks with a guard page below each; grows on demand. Returns false without memory.
bool stacks_reserve(uint32_t count);

// Lowest and highest usable address of stack `index`.
char* stack_low(uint32_t index);
char* stack_high(uint32_t index);

// A stack pointer that will start entry() on stack `index`.
void* stack_prepare(uint32_t index, void (*entry)());

}  // namespace simt
