// Products of activations whose gates blocks of neighbouring neurons share, on a GPU; all pointers are device pointers.
#pragma once

#include <cstdint>

#include "cuda/device/bfloat16.hpp"
#include "cuda/device/device.hpp"
#include "cuda/tile/configuration.hpp"
#include "gatentk/views.hpp"

namespace gatentk::cuda {

// Samples by unit: row u of `lists`, n + 1 numbers, is how many samples unit u is on for, then these, then the others,
// both rising.
struct BlockLists {
  GateView gates;  // bit i of row u: whether unit u is on for sample i
  std::int64_t units = 0, n = 0;
  std::int32_t* lists = nullptr;
};

// out = left right^T in the columns of the units that are on for a sample, exact zeros in the others. Neurons 0 to
// block - 1 are those of unit 0, and so on; the last unit may have fewer.
template <class T>
struct BlockMatmul {
  RowsView<T> left;   // gates, if any: bit u of row i is that of the block_left elements from block_left u on
  RowsView<T> right;  // row j is column j of `out`, as in a forward product; transposed as in an input gradient
  T* out = nullptr;   // [left.rows][right.rows], written
  std::int64_t out_stride = 0;
  const std::int32_t* lists = nullptr;  // of the units of out, see BlockLists; null: all are on
  std::int64_t block_out = 1, block_left = 1;
};

// std::invalid_argument where rows of bits do not start at multiples of 4 bytes.
void block_lists(const BlockLists& problem, const Device& device);

// `precision` counts for floats only; strict products, and tf32x3 over fewer than min_tf32x3_width columns, are not
// served. T: float, double, Bfloat16 (summed in float). All rows start at multiples of 16 bytes and their lengths are
// such multiples; blocks are multiples of 32 neurons: std::invalid_argument where they are not. `configuration` is an
// index into block_matmul_table of the arithmetic that is asked for, or -1.
template <class T>
void block_matmul(const BlockMatmul<T>& product, Precision precision, const Device& device, int configuration = -1);

}  // namespace gatentk::cuda
