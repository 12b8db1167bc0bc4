// What AddressSanitizer must be told: memory that may not be touched, and changes of the stack. Nothing without it.
#pragma once

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

namespace gatentk::emulation {
inline void forbid_memory(const void* first, std::size_t bytes) {
  __asan_poison_memory_region(first, bytes);
}
inline void allow_memory(const void* first, std::size_t bytes) {
  __asan_unpoison_memory_region(first, bytes);
}
inline void leave_stack(void** fake_stack, const void* to, std::size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, to, bytes);
}
inline void enter_stack(void* fake_stack, const void** from, std::size_t* bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, from, bytes);
}
}  // namespace gatentk::emulation

#else

namespace gatentk::emulation {
inline void forbid_memory(const void*, std::size_t) {}
inline void allow_memory(const void*, std::size_t) {}
inline void leave_stack(void**, const void*, std::size_t) {}
inline void enter_stack(void*, const void**, std::size_t*) {}
}  // namespace gatentk::emulation

#endif
