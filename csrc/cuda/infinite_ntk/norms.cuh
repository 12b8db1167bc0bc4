// Norms of the samples, and the diagonal that follows from them.
#pragma once

#include <cstdint>

#include "cuda/device/lanes.cuh"
#include "cuda/infinite_ntk/arguments.cuh"

namespace gatentk::cuda {

template <class T>
struct NormArguments {
  const T* data;
  std::int64_t stride, width;
  int rows;
  T *norm, *inverse;
  T* out;  // null: no diagonal
  std::int64_t out_slice, out_stride;
  Quantity quantity;
  int outputs;
  Depths depths;
};

// A warp per sample: its norm, and the diagonal from the squared norm rather than from a square of its root.
template <class T>
__global__ void __launch_bounds__(norm_threads) sample_norms(const NormArguments<T> a) {
  const int lane = threadIdx.x % 32;
  const std::int64_t row = std::int64_t{blockIdx.x} * (norm_threads / 32) + threadIdx.x / 32;
  if (row >= a.rows) return;
  const T* sample = a.data + row * a.stride;
  double squared = 0;
#pragma unroll 4
  for (std::int64_t k = lane; k < a.width; k += 32) squared += static_cast<double>(sample[k]) * sample[k];
  squared = sum_of_warp(squared);
  if (lane == 0) {
    a.norm[row] = static_cast<T>(sqrt(squared));
    a.inverse[row] = static_cast<T>(1 / sqrt(squared));
  }
  if (!a.out) return;
  for (int o = lane; o < a.outputs; o += 32) {
    const int depth = a.depths.depth[by_layer(a.quantity) ? 0 : o];
    a.out[o * a.out_slice + row * (a.out_stride + 1)] = static_cast<T>(diagonal_factor(a.quantity, depth) * squared);
  }
}

}  // namespace gatentk::cuda
