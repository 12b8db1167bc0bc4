// Values of rows where their gates are on, on a GPU; all pointers are device pointers.
#pragma once

#include "cuda/device/bfloat16.hpp"
#include "cuda/device/device.hpp"
#include "gatentk/blocks.hpp"

namespace gatentk::cuda {

// T is float, double or Bfloat16. `values` may have a stride of 0, one row for all, or be `out` itself, with its
// stride. Gates start at multiples of 4 bytes and so do their rows; std::invalid_argument where they do not.
template <class T>
void gate_rows(const GateRowsProblem<T>& problem, const Device& device);

}  // namespace gatentk::cuda
