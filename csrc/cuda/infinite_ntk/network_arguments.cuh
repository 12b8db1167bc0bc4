// What the kernels of networks with weight and bias variances are given; see gatentk/sample_layers.hpp for the slices.
#pragma once

#include <cstdint>

#include "cuda/device/language.cuh"
#include "cuda/infinite_ntk/arguments.cuh"
#include "gatentk/sample_layers.hpp"

namespace gatentk::cuda {

// All fields of a sample but the last, which is asked for less often, side by side.
template <class T>
struct alignas(16) SliceFields {
  T field[network_fields - 1];
};

// The slices of the samples of one side. A slice is the SliceFields of its samples, and after them their last fields.
template <class T>
struct LayerTable {
  T* data;            // null: no slices
  std::int64_t held;  // samples, whole columns of a strip: those beyond the rows are as rows of zeros

  __device__ __forceinline__ T* slice(std::int64_t index) const { return data + index * network_fields * held; }
  __device__ __forceinline__ SliceFields<T>* fields(std::int64_t index) const {
    return reinterpret_cast<SliceFields<T>*>(slice(index));
  }
  __device__ __forceinline__ T* last_fields(std::int64_t index) const {
    return slice(index) + (network_fields - 1) * held;
  }
};

template <class T>
struct NetworkArguments {
  PairArguments<T> pairs;
  LayerTable<T> rows, columns;
  Quantity quantity;
  T bend, keep;        // keep: 1, or 0 for a covariance: the share of earlier layers in the kernel
  double first, gain;  // of a piecewise linear network
};

template <class T>
struct SampleArguments {
  const T* data;
  std::int64_t stride, width;
  int rows;
  T *norm, *inverse;
  LayerTable<T> table;
  T* out;  // null: no diagonal
  std::int64_t out_slice, out_stride;
  NetworkWalk walk;
  Depths depths;
};

}  // namespace gatentk::cuda
