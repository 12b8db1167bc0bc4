// Kernels and angles of infinitely wide ReLU and GReLU networks.
#pragma once

#include <cstdint>
#include <vector>

#include "gatentk/kernel_table.hpp"

namespace gatentk {

template <class T>
struct InfiniteProblem {
  Quantity quantity = Quantity::relu;
  std::vector<std::int64_t> depths;  // rising, distinct; relu_components: one depth, with depth + 1 outputs
  bool symmetric = false;            // z is x
  RowsView<T> x, z;                  // samples, no row zero
  T* out = nullptr;                  // [outputs][x.rows][z.rows]
  std::int64_t out_slice = 0;        // elements between outputs
  std::int64_t out_stride = 0;       // elements between rows
};

template <class T>
void infinite_ntk(const InfiniteProblem<T>& problem, int threads);

}  // namespace gatentk
