// What the infinite-width kernels are given.
#pragma once

#include <cstdint>

#include "cuda/infinite_ntk/configurations.hpp"
#include "gatentk/quantities.hpp"

namespace gatentk::cuda {

// Depths of one pass, rising; they travel in the kernel's arguments.
constexpr int max_depths = 256;
struct Depths {
  int count;
  int depth[max_depths];
};

template <class T>
struct Samples {
  const T* data;
  std::int64_t stride;
  int rows;
  const T *norm, *inverse;  // |x_i|, 1/|x_i|
};

template <class T>
struct PairArguments {
  Samples<T> x, z;
  int width;
  bool symmetric;  // z is x: pairs with j > i are computed and mirrored, the diagonal comes from sample_norms
  bool wide;       // every row starts at a multiple of 16 bytes
  T* out;
  std::int64_t out_slice, out_stride;
  Depths depths;
};

template <class T, int side>
using Layout = InfiniteLayout<side, static_cast<int>(sizeof(T))>;

}  // namespace gatentk::cuda
