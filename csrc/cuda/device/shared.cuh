// Shared memory: spans of it and the arena that hands them out. Plain pointers on the device; the emulation checks
// bounds, alignment and races, which it can do because kernels reach shared memory only through these spans.
#pragma once

#include "cuda/device/language.cuh"

#ifdef GATENTK_CUDA_EMULATION
#include "emulator/shared.hpp"
#else

namespace gatentk::cuda {

// Elements of type T in shared memory.
template <class T>
class Shared {
 public:
  Shared() = default;
  __device__ __forceinline__ explicit Shared(T* first) : first_(first) {}

  __device__ __forceinline__ T& operator[](int i) const { return first_[i]; }

  // A vector V that starts at element i, which must be aligned for it.
  template <class V>
  __device__ __forceinline__ V load(int i) const {
    return *reinterpret_cast<const V*>(first_ + i);
  }
  template <class V>
  __device__ __forceinline__ void store(int i, V v) const {
    *reinterpret_cast<V*>(first_ + i) = v;
  }

  // The rest of the span, from element i on.
  __device__ __forceinline__ Shared from(int i) const { return Shared(first_ + i); }

  // The same bytes as elements of type U.
  template <class U>
  __device__ __forceinline__ Shared<U> as() const {
    return Shared<U>(reinterpret_cast<U*>(first_));
  }

  // Address of element i in the shared window, as instructions take it.
  __device__ __forceinline__ unsigned address(int i) const {
    return static_cast<unsigned>(__cvta_generic_to_shared(first_ + i));
  }

 private:
  T* first_;
};

// Hands out the block's dynamic shared memory front to back. Every thread makes exactly one arena and takes the same
// spans in the same order; memory that is used twice is one span seen through from() and as().
class SharedArena {
 public:
  __device__ __forceinline__ SharedArena() {
    extern __shared__ __align__(128) unsigned char gatentk_shared_memory[];
    first_ = gatentk_shared_memory;
  }

  // `alignment` is a power of two of at most 128 bytes.
  template <class T>
  __device__ __forceinline__ Shared<T> take(int count, int alignment = 16) {
    offset_ = (offset_ + alignment - 1) / alignment * alignment;
    const Shared<T> span(reinterpret_cast<T*>(first_ + offset_));
    offset_ += count * static_cast<int>(sizeof(T));
    return span;
  }

 private:
  unsigned char* first_;
  int offset_ = 0;
};

}  // namespace gatentk::cuda

#endif
