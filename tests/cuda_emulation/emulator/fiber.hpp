// Stacks that take turns on one thread of the host.
#pragma once

#include <cstddef>

namespace gatentk::emulation {

class Fiber {
 public:
  using Body = void (*)(void* argument);

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // The next resume() calls body(argument), which must not throw. `index` spreads the frames of many fibers over the
  // sets of the caches.
  void start(Body body, void* argument, int index);

  // Runs the fiber until it suspends itself or its body returns.
  void resume();

  // Back to resume(); called on the fiber's own stack.
  void suspend();

 private:
  friend struct FiberEntry;
  void enter();

  std::byte* memory_ = nullptr;  // a guard page, then the stack
  Body body_ = nullptr;
  void* argument_ = nullptr;
  void* context_ = nullptr;  // of whichever side is not running
  void* caller_ = nullptr;
  // For AddressSanitizer: the caller's stack, and the frames it keeps for either side.
  const void* caller_stack_ = nullptr;
  std::size_t caller_stack_bytes_ = 0;
  void* fake_stack_ = nullptr;
};

}  // namespace gatentk::emulation
