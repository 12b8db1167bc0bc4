// The factors of the matrix products as kernels see them.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "gatentk/views.hpp"

namespace gatentk::cuda {

// A factor: element (r, k), r < rows, k < width, is data[r * stride + k].
template <class T>
struct Operand {
  const T* data;
  int stride, rows, width;  // a stride of 64 bits would take registers that the products need
};

// Throws std::invalid_argument about an argument.
[[noreturn]] inline void refuse(const char* name, const std::string& what) {
  throw std::invalid_argument(std::string(name) + ": " + what);
}

// Kernels count rows, columns and tiles in ints.
inline int kernel_size(std::int64_t size, const char* name) {
  if (size > 0x7fff0000) refuse(name, "a size of " + std::to_string(size));
  return static_cast<int>(size);
}

inline bool aligned(const void* address, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

// Whether every stored row starts at a multiple of 16 bytes.
template <class T>
bool rows_aligned(const RowsView<T>& view) {
  return aligned(view.data, 16) && (view.rows < 2 || view.stride * sizeof(T) % 16 == 0);
}

// Rows are copied in chunks of 16 bytes, the last one whole: what lies there behind a row must be zeros, or not matter.
template <class T>
Operand<T> operand(const RowsView<T>& view) {
  if (view.transposed || view.gates.bits)
    throw std::invalid_argument("factors: expected rows without gates, not columns");
  if (view.width && !rows_aligned(view))
    throw std::invalid_argument("factors: expected rows that start at multiples of 16 bytes");
  const std::int64_t stride = view.rows > 1 ? view.stride : 0;  // any number if there is one row
  return {view.data, kernel_size(stride, "stride"), kernel_size(view.rows, "rows"), kernel_size(view.width, "width")};
}

}  // namespace gatentk::cuda
