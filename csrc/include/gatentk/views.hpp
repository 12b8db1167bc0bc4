// How kernels see matrices: raw pointers, sizes and strides; nothing here knows of torch or Python.
#pragma once

#include <cstdint>

namespace gatentk {

// Packed gates, LSB first, of a matrix as it is stored; null if there are none.
struct GateView {
  const std::uint8_t* bits = nullptr;
  std::int64_t stride = 0;  // bytes between stored rows
};

// A matrix of `rows` x `width`; an element whose gate is 0 counts as zero. Stored rows are contiguous; of a
// transposed view they are its columns: data[k * stride + i] is element (i, k), and its gate is bit i of row k.
template <class T>
struct RowsView {
  const T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t stride = 0;  // elements between stored rows
  GateView gates = {};
  bool transposed = false;

  const T* row(std::int64_t i) const { return data + i * stride; }
  // Address of element (i, k).
  const T* at(std::int64_t i, std::int64_t k) const {
    return transposed ? data + k * stride + i : data + i * stride + k;
  }
};

}  // namespace gatentk
