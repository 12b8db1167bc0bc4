// Kernels and angles of infinitely wide ReLU and GReLU networks.
#pragma once

#include <cstdint>
#include <vector>

#include "gatentk/quantities.hpp"
#include "gatentk/views.hpp"

namespace gatentk {

template <class T>
struct InfiniteProblem {
  Quantity quantity = Quantity::relu;
  std::vector<std::int64_t> depths;  // rising, distinct; of quantities by layer: one depth
  bool symmetric = false;            // z is x
  RowsView<T> x, z;                  // samples, no row zero
  T* out = nullptr;                  // [outputs][x.rows][z.rows], written
  std::int64_t out_slice = 0;        // elements between outputs
  std::int64_t out_stride = 0;       // elements between rows

  std::int64_t outputs() const {
    return by_layer(quantity) ? depths.front() + 1 : static_cast<std::int64_t>(depths.size());
  }
};

}  // namespace gatentk
