// Memory of the kernels: aligned scratch buffers, and a hint to the kernel for large results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace gatentk::cpu {

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};

// `count` elements aligned to 64 bytes, not initialised; throws std::bad_alloc.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t count);
  T* get() const { return static_cast<T*>(memory_.get()); }

 private:
  std::unique_ptr<void, FreeMemory> memory_;
};

// Aligned to 64 bytes and rounded up to whole cache lines; asks for huge pages from 4 MiB on.
void* allocate(std::size_t bytes);

template <class T>
Buffer<T>::Buffer(std::size_t count) : memory_(allocate(count * sizeof(T))) {}

// Asks the operating system for huge pages behind a result that is about to be written for the first time:
// a 256 MB matrix then costs 128 page faults instead of 65,536. A hint only; small ranges are left alone.
void advise_huge_pages(void* memory, std::size_t bytes);

}  // namespace gatentk::cpu
