// Kernels and angles of infinitely wide ReLU and GReLU networks.
#pragma once

#include <cstdint>
#include <vector>

#include "gatentk/quantities.hpp"
#include "gatentk/views.hpp"

namespace gatentk {

// A network f of the quantities that have parameters: pre-activations of the first layer have the covariance
// first x.z + bias, those of a later one, and the output, weight E[f(u) f(v)] + bias.
struct Network {
  double slope = 0;  // of leaky_relu below 0: ReLU 0, absolute value -1
  double first = 1, weight = 2, bias = 0;

  // What leaky_relu's kernel has of that of ReLU: 0 if it is linear, 2 for the absolute value.
  constexpr double bend() const { return (1 - slope) * (1 - slope) / (1 + slope * slope); }
  // The variance behind leaky_relu and the weights in units of that before.
  constexpr double gain() const { return weight * (1 + slope * slope) / 2; }
};

template <class T>
struct InfiniteProblem {
  Quantity quantity = Quantity::relu;
  std::vector<std::int64_t> depths;  // rising, distinct; of quantities by layer: one depth
  bool symmetric = false;            // z is x
  Network network;                   // of quantities that have one
  RowsView<T> x, z;                  // samples; rows of zeros for networks only
  T* out = nullptr;                  // [outputs][x.rows][z.rows], written
  std::int64_t out_slice = 0;        // elements between outputs
  std::int64_t out_stride = 0;       // elements between rows

  std::int64_t outputs() const {
    return by_layer(quantity) ? depths.front() + 1 : static_cast<std::int64_t>(depths.size());
  }
};

}  // namespace gatentk
