#include "fiber.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#include "sanitizers.hpp"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define GATENTK_OWN_SWITCH
#else
#include <ucontext.h>
#endif

namespace gatentk::emulation {

namespace {

// Kernels keep up to a few KB of registers in arrays, several times as much under AddressSanitizer.
constexpr std::size_t stack_bytes = 256 * 1024;

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

std::byte* new_stack() {
  void* memory = mmap(nullptr, page_bytes() + stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page_bytes(), PROT_NONE);
  return static_cast<std::byte*>(memory);
}

}  // namespace

#ifdef GATENTK_OWN_SWITCH

// Pushes the registers that a function must keep, stores the stack pointer in *from, takes `to` for it and pops them,
// without the system call that swapcontext makes to change the signal mask.
extern "C" void gatentk_switch_stack(void** from, void* to);
extern "C" void gatentk_fiber_entry();

#ifdef __x86_64__
__asm__(R"(
.text
.globl gatentk_switch_stack
.hidden gatentk_switch_stack
.type gatentk_switch_stack, @function
gatentk_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  retq
.size gatentk_switch_stack, . - gatentk_switch_stack
.globl gatentk_fiber_entry
.hidden gatentk_fiber_entry
.type gatentk_fiber_entry, @function
gatentk_fiber_entry:
  movq %rbx, %rdi
  callq *%r12
  ud2
.size gatentk_fiber_entry, . - gatentk_fiber_entry
)");

namespace {

// r15, r14, r13, r12, rbx, rbp, return address; the entry is reached with rsp = top, a multiple of 16.
void* first_context(std::byte* top, void (*function)(Fiber*), Fiber* fiber) {
  auto* words = reinterpret_cast<std::uintptr_t*>(top) - 7;
  words[3] = reinterpret_cast<std::uintptr_t>(function);
  words[4] = reinterpret_cast<std::uintptr_t>(fiber);
  words[5] = 0;
  words[6] = reinterpret_cast<std::uintptr_t>(&gatentk_fiber_entry);
  return words;
}

}  // namespace
#else
__asm__(R"(
.text
.globl gatentk_switch_stack
.hidden gatentk_switch_stack
.type gatentk_switch_stack, %function
gatentk_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size gatentk_switch_stack, . - gatentk_switch_stack
.globl gatentk_fiber_entry
.hidden gatentk_fiber_entry
.type gatentk_fiber_entry, %function
gatentk_fiber_entry:
  mov x0, x19
  blr x20
  brk #0
.size gatentk_fiber_entry, . - gatentk_fiber_entry
)");

namespace {

// x19, x20, ..., x29 at word 10, x30 at word 11.
void* first_context(std::byte* top, void (*function)(Fiber*), Fiber* fiber) {
  auto* words = reinterpret_cast<std::uintptr_t*>(top) - 20;
  words[0] = reinterpret_cast<std::uintptr_t>(fiber);
  words[1] = reinterpret_cast<std::uintptr_t>(function);
  words[10] = 0;
  words[11] = reinterpret_cast<std::uintptr_t>(&gatentk_fiber_entry);
  return words;
}

}  // namespace
#endif

namespace {
void switch_context(void*& from, void* to) {
  gatentk_switch_stack(&from, to);
}
void free_context(void*) {}
}  // namespace

#else  // other systems: correct, but slower

namespace {

void enter_by_halves(unsigned function_high, unsigned function_low, unsigned fiber_high, unsigned fiber_low) {
  const auto join = [](std::uint64_t high, std::uint64_t low) { return static_cast<std::uintptr_t>(high << 32 | low); };
  const auto function = reinterpret_cast<void (*)(Fiber*)>(join(function_high, function_low));
  function(reinterpret_cast<Fiber*>(join(fiber_high, fiber_low)));
}

void* first_context(std::byte* top, void (*function)(Fiber*), Fiber* fiber) {
  auto* context = new ucontext_t;
  getcontext(context);
  context->uc_stack.ss_size = stack_bytes / 2;
  context->uc_stack.ss_sp = top - context->uc_stack.ss_size;
  context->uc_link = nullptr;
  const auto halves = [](auto address) {
    return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(address));
  };
  makecontext(context, reinterpret_cast<void (*)()>(&enter_by_halves), 4, static_cast<unsigned>(halves(function) >> 32),
              static_cast<unsigned>(halves(function)), static_cast<unsigned>(halves(fiber) >> 32),
              static_cast<unsigned>(halves(fiber)));
  return context;
}

void switch_context(void*& from, void* to) {
  if (from == nullptr) from = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(from), static_cast<const ucontext_t*>(to));
}

void free_context(void* context) {
  delete static_cast<ucontext_t*>(context);
}

}  // namespace

#endif

struct FiberEntry {
  static void run(Fiber* fiber) { fiber->enter(); }
};

Fiber::~Fiber() {
  free_context(context_);
  free_context(caller_);
  if (memory_ != nullptr) munmap(memory_, page_bytes() + stack_bytes);
}

void Fiber::start(Body body, void* argument, int index) {
  if (memory_ == nullptr) memory_ = new_stack();
  // Frames that an exception or a fiber left behind may be marked as forbidden.
  allow_memory(memory_ + page_bytes(), stack_bytes);
  body_ = body;
  argument_ = argument;
  free_context(context_);
  // Tops of stacks that lie a multiple of 4 KB apart would share a few sets of the L1 cache.
  constexpr int step = 5 * 64, steps = 51;
  std::byte* top = memory_ + page_bytes() + stack_bytes - 64 - index % steps * step;
  context_ = first_context(top, &FiberEntry::run, this);
}

void Fiber::resume() {
  void* fake_stack = nullptr;
  leave_stack(&fake_stack, memory_ + page_bytes(), stack_bytes);
  switch_context(caller_, context_);
  enter_stack(fake_stack, nullptr, nullptr);
}

void Fiber::suspend() {
  leave_stack(&fake_stack_, caller_stack_, caller_stack_bytes_);
  switch_context(context_, caller_);
  enter_stack(fake_stack_, &caller_stack_, &caller_stack_bytes_);
}

void Fiber::enter() {
  enter_stack(nullptr, &caller_stack_, &caller_stack_bytes_);
  body_(argument_);
  leave_stack(nullptr, caller_stack_, caller_stack_bytes_);
  switch_context(context_, caller_);
}

}  // namespace gatentk::emulation
