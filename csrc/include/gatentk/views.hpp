// How kernels see matrices: raw pointers, sizes and strides; nothing here knows of torch or Python.
#pragma once

#include <cstdint>

namespace gatentk {

// Rows of a matrix, contiguous within a row. `gates`, if not null, are LSB-first packed bits of the same rows:
// an element whose bit is 0 counts as zero.
template <class T>
struct RowsView {
  const T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t stride = 0;  // elements between rows
  const std::uint8_t* gates = nullptr;
  std::int64_t gate_stride = 0;  // bytes between rows

  const T* row(std::int64_t i) const { return data + i * stride; }
  bool on(std::int64_t i, std::int64_t k) const { return !gates || (gates[i * gate_stride + k / 8] >> (k % 8) & 1); }
};

}  // namespace gatentk
