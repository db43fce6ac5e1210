// fault.cpp - see fault.h.
#include "fault.h"

#include <csignal>
#include <cstdint>
#include <ucontext.h>

#include "arena.h"
#include "machine.h"
#include "report.h"

namespace simt {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr int kCount = sizeof kSignals / sizeof kSignals[0];

struct sigaction previous[kCount];
stack_t previous_stack;
alignas(64) char handler_stack[64 * 1024];
alignas(64) char landing_stack[64 * 1024];  // the fiber's own may be what overflowed

struct {
  int signal;
  uint64_t address, pc;
} fault;

[[noreturn]] void land() {
  const Place here = in_arena(fault.pc) ? Place{} : Place::code(fault.pc + 1);
  const std::string who = describe_current();
  if (fault.signal == SIGFPE) {
    report_fatal("illegal operation", here, format("%s divides an integer by zero", who.c_str()));
  }
  if (fault.signal == SIGILL) {
    report_fatal("illegal operation", here,
                 format("%s executes an instruction that this processor lacks", who.c_str()));
  }
  const auto low = reinterpret_cast<uint64_t>(stack_low(current->id));
  if (fault.address < low && fault.address + 4096 >= low) {
    report_fatal(
        "limit", here,
        format("%s needs more than the emulator's %zu bytes of stack", who.c_str(), kStackBytes));
  }
  report_fatal("out of bounds", here,
               format("%s accesses %s, where no memory is", who.c_str(),
                      describe_address(fault.address).c_str()));
}

void restore(int signal) {
  for (int i = 0; i < kCount; i++) {
    if (kSignals[i] == signal) sigaction(signal, &previous[i], nullptr);
  }
}

void handle(int signal, siginfo_t* info, void* context) {
  if (!running_fiber()) {  // not a kernel's: the host's handler sees it when the instruction
                           // repeats
    restore(signal);
    return;
  }
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  fault.signal = signal;
  fault.address = reinterpret_cast<uint64_t>(info->si_addr);
  fault.pc = static_cast<uint64_t>(registers[REG_RIP]);
  const auto top = reinterpret_cast<uint64_t>(landing_stack + sizeof landing_stack - 64);
  registers[REG_RSP] = static_cast<greg_t>(top - 8);  // aligned as after a call
  registers[REG_RIP] = static_cast<greg_t>(reinterpret_cast<uint64_t>(&land));
}

}  // namespace

FaultGuard::FaultGuard() {
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof handler_stack;
  sigaltstack(&stack, &previous_stack);
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < kCount; i++) sigaction(kSignals[i], &action, &previous[i]);
}

FaultGuard::~FaultGuard() {
  for (int i = 0; i < kCount; i++) sigaction(kSignals[i], &previous[i], nullptr);
  sigaltstack(&previous_stack, nullptr);
}

}  // namespace simt
