// Spans of shared memory that check every access; see shared.cuh for what they stand for.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "block.hpp"

namespace gatentk::cuda {

template <class T>
class Shared {
 public:
  Shared() = default;
  Shared(T* first, int count) : first_(first), count_(count) {}

  T& operator[](int i) const {
    return *static_cast<T*>(
        checked(i, sizeof(T), alignof(T), std::is_const_v<T> ? emulation::Access::read : emulation::Access::refer));
  }

  template <class V>
  V load(int i) const {
    return *static_cast<const V*>(checked(i, sizeof(V), alignof(V), emulation::Access::read));
  }
  template <class V>
  void store(int i, V v) const {
    *static_cast<V*>(checked(i, sizeof(V), alignof(V), emulation::Access::write)) = v;
  }

  Shared from(int i) const {
    if (i < 0 || i > count_) {
      emulation::fail("a span of " + std::to_string(count_) + " elements of shared memory has no element " +
                      std::to_string(i) + " to start from");
    }
    return Shared(first_ + i, count_ - i);
  }

  template <class U>
  Shared<U> as() const {
    return Shared<U>(reinterpret_cast<U*>(first_), static_cast<int>(count_ * sizeof(T) / sizeof(U)));
  }

  // Address of `bytes` bytes from element i on, for an access that the caller reports itself.
  void* bytes_at(int i, int bytes, int alignment) const {
    const std::int64_t end = static_cast<std::int64_t>(i) * static_cast<int>(sizeof(T)) + bytes;
    if (i < 0 || end > static_cast<std::int64_t>(count_) * static_cast<int>(sizeof(T))) out_of_bounds(i, bytes);
    if (reinterpret_cast<std::uintptr_t>(first_ + i) % alignment != 0) misaligned(i, alignment);
    return const_cast<std::remove_const_t<T>*>(first_ + i);
  }

 private:
  void* checked(int i, int bytes, int alignment, emulation::Access access) const {
    void* address = bytes_at(i, bytes, alignment);
    emulation::touch(address, bytes, access);
    return address;
  }

  [[noreturn]] void out_of_bounds(int i, int bytes) const {
    emulation::fail("out of bounds: " + std::to_string(bytes) + " bytes from element " + std::to_string(i) +
                    " of a span of " + std::to_string(count_) + " elements of " + std::to_string(sizeof(T)) +
                    " bytes in shared memory");
  }
  [[noreturn]] void misaligned(int i, int alignment) const {
    emulation::fail("misaligned: element " + std::to_string(i) + " of a span in shared memory is not aligned to " +
                    std::to_string(alignment) + " bytes");
  }

  T* first_ = nullptr;
  int count_ = 0;
};

class SharedArena {
 public:
  SharedArena();

  template <class T>
  Shared<T> take(int count, int alignment = 16) {
    return Shared<T>(static_cast<T*>(emulation::take_shared(count * static_cast<int>(sizeof(T)), alignment)), count);
  }
};

}  // namespace gatentk::cuda
