// The factors of the matrix products as kernels see them.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "gatentk/views.hpp"

namespace gatentk::cuda {

// How a tile of a factor reaches shared memory.
//   chunks:   rows of it in copies of 16 bytes. Ungated, or bfloat16, whose gates are applied in shared memory.
//   rows:     stored by rows, element by element: what a gate switches off is not read, the copy fills in zeros.
//   columns:  the same for a factor that is stored transposed.
//   elements: bfloat16 that cannot be copied in chunks: an asynchronous copy takes 4 bytes at least, so these go
//             through registers.
enum class CopyMode { chunks, rows, columns, elements };

// A factor: element (r, k), r < rows, k < width, is data[r * stride + k], transposed data[k * stride + r]; bits are the
// gates of the matrix as stored, or null.
template <class T>
struct Operand {
  const T* data;
  const std::uint8_t* bits;
  std::int64_t stride, gate_stride;
  int rows, width;
  CopyMode mode;
  bool transposed;
};

// Kernels count rows, columns and tiles in ints.
inline int kernel_size(std::int64_t size, const char* name) {
  if (size > 0x7fff0000) throw std::invalid_argument(std::string(name) + ": a size of " + std::to_string(size));
  return static_cast<int>(size);
}

inline bool aligned(const void* address, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

// Whether every stored row starts at a multiple of 16 bytes.
template <class T>
bool rows_aligned(const RowsView<T>& view) {
  return aligned(view.data, 16) && view.stride * sizeof(T) % 16 == 0;
}

// The copies that a factor's storage allows; a chunk must not reach beyond a row.
template <class T>
CopyMode copy_mode(const RowsView<T>& view) {
  constexpr int chunk = 16 / sizeof(T);
  const bool whole_chunks = !view.transposed && view.width % chunk == 0 && rows_aligned(view);
  if (sizeof(T) == 2) return whole_chunks ? CopyMode::chunks : CopyMode::elements;
  if (whole_chunks && !view.gates.bits) return CopyMode::chunks;
  return view.transposed ? CopyMode::columns : CopyMode::rows;
}

template <class T>
Operand<T> operand(const RowsView<T>& view) {
  return {view.data,
          view.gates.bits,
          view.stride,
          view.gates.stride,
          kernel_size(view.rows, "rows"),
          kernel_size(view.width, "width"),
          copy_mode(view),
          view.transposed};
}

}  // namespace gatentk::cuda
