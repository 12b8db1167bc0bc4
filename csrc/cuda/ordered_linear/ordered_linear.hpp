// Products in a fixed order on a GPU; all pointers are device pointers.
#pragma once

#include "cuda/device/device.hpp"
#include "gatentk/ordered_linear.hpp"

namespace gatentk::cuda {

// Bit for bit the result of the CPU. T: float, double.
template <class T>
void ordered_linear(const OrderedProduct<T>& product, const Device& device);

}  // namespace gatentk::cuda
