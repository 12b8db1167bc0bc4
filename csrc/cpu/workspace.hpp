// Memory of the kernels: aligned scratch buffers, and a hint to the kernel for large results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace gatentk::cpu {

struct Piece {
  void* memory;
  std::size_t bytes;
};

// At least `bytes` bytes, aligned to 64 and not initialised; asks for huge pages from 4 MiB on. Throws std::bad_alloc.
Piece allocate(std::size_t bytes);

// Gives back what `allocate` gave. Some of it is kept for the next call: the system would take as long to find it again
// and to fill it with zeros as a product takes.
void release(const Piece& piece);

// `count` elements aligned to 64 bytes, not initialised; throws std::bad_alloc.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t count) : Buffer(allocate(count * sizeof(T))) {}
  T* get() const { return static_cast<T*>(memory_.get()); }

 private:
  struct Release {
    std::size_t bytes;
    void operator()(void* memory) const { release({memory, bytes}); }
  };

  explicit Buffer(const Piece& piece) : memory_(piece.memory, Release{piece.bytes}) {}

  std::unique_ptr<void, Release> memory_{nullptr, Release{0}};
};

// Asks the operating system for huge pages behind a result that is about to be written for the first time:
// a 256 MB matrix then costs 128 page faults instead of 65,536. A hint only; small ranges are left alone.
void advise_huge_pages(void* memory, std::size_t bytes);

}  // namespace gatentk::cpu
