// Products of activations whose gates are shared by blocks of neurons, the units of a layer.
#pragma once

#include <cstdint>

#include "gatentk/views.hpp"

namespace gatentk {

// Activations of `rows` samples: neuron j of unit u of sample i lies at data[u * unit_stride + i * row_stride + j].
template <class T>
struct BlockView {
  T* data = nullptr;
  std::int64_t rows = 0, width = 0;
  std::int64_t block = 1;  // neurons of a unit; the last one has fewer if they do not divide the width
  std::int64_t unit_stride = 0, row_stride = 0;
  bool padded = false;    // the last unit has room for a whole block, zeros beyond the width
  GateView unit_major{};  // bit i of row u: whether unit u is on for sample i; null if all are

  std::int64_t units() const { return (width + block - 1) / block; }
};

// out = z weight^T, or z weight if it is transposed. What is off in z is not read, what is off in `out` becomes 0.
template <class T>
struct BlockProduct {
  BlockView<const T> z;
  const T* weight = nullptr;
  std::int64_t weight_stride = 0;
  bool transposed = false;
  BlockView<T> out;
};

// out = left^T right, [left.width][right.width].
template <class T>
struct BlockWeightGradient {
  BlockView<const T> left, right;
  T* out = nullptr;
  std::int64_t out_stride = 0;
};

// Bits of neurons of those of their units; rows of `out` are padded with zeros.
struct ExpandBits {
  const std::uint8_t* bits = nullptr;
  std::int64_t bits_stride = 0;
  std::int64_t rows = 0, width = 0, block = 1;
  std::uint8_t* out = nullptr;
  std::int64_t out_bytes = 0;
};

// out[i] = values[i] where the unit of a neuron is on, else 0; `out` may be `values`.
template <class T>
struct GateRowsProblem {
  const T* values = nullptr;
  std::int64_t values_stride = 0;
  std::int64_t rows = 0, width = 0, block = 1;
  GateView gates;  // bit u of row i
  T* out = nullptr;
  std::int64_t out_stride = 0;
};

// out[i] += bias where the unit of a neuron is on.
template <class T>
struct GatedBias {
  T* out = nullptr;
  std::int64_t out_stride = 0;
  std::int64_t rows = 0, width = 0, block = 1;
  GateView gates;  // bit u of row i
  const T* bias = nullptr;
};

// out[j] = sum over the rows in which the unit of neuron j is on of values[i][j].
template <class T>
struct GatedSums {
  const T* values = nullptr;
  std::int64_t values_stride = 0;
  std::int64_t rows = 0, width = 0, block = 1;
  GateView gates;  // bit u of row i
  T* out = nullptr;
};

}  // namespace gatentk
