// Weight gradients of layers whose gates blocks of neighbouring neurons share, on a GPU; all pointers are device
// pointers.
#pragma once

#include <cstdint>

#include "cuda/device/bfloat16.hpp"
#include "cuda/device/device.hpp"
#include "cuda/tile/configuration.hpp"
#include "gatentk/views.hpp"

namespace gatentk::cuda {

// out = left right^T over the samples that are on for the unit of a row and for that of a column; elements that are off
// are not read.
template <class T>
struct BlockWeightGradient {
  // The transposed views of matrices that are stored with a row for each sample: the gradient of the layer's output
  // (rows: output neurons, width: samples) and the layer's input (rows: input neurons). No gates.
  RowsView<T> left, right;
  T* out = nullptr;  // [left.rows][right.rows], written; zeros where no sample is on
  std::int64_t out_stride = 0;
  GateView units_left, units_right;              // bit i of row u: whether unit u is on for sample i; null: all are
  std::int64_t block_left = 1, block_right = 1;  // neighbouring rows of a unit; the last unit may have fewer
};

// `precision` counts for floats only; strict products, and tf32x3 over fewer than min_tf32x3_width samples, are not
// served. T: float, double, Bfloat16 (summed in float). Rows of all matrices start at multiples of 16 bytes and their
// lengths and blocks are such multiples, rows of bits start at multiples of 4 bytes: std::invalid_argument where they
// do not. `configuration` is an index into weight_gradient_table of the arithmetic that is asked for, or -1.
template <class T>
void block_weight_gradient(const BlockWeightGradient<T>& gradient, Precision precision, const Device& device,
                           int configuration = -1);

}  // namespace gatentk::cuda
