// Products in a fixed order on a GPU; all pointers are device pointers.
#pragma once

#include "cuda/device/device.hpp"
#include "gatentk/ordered_linear.hpp"

namespace gatentk::cuda {

// Bit for bit the result of the CPU. T: float, double. Rows start at multiples of 16 bytes and are read up to the next
// one, whatever is there; std::invalid_argument where they start elsewhere.
template <class T>
void ordered_linear(const OrderedProduct<T>& product, const Device& device);

}  // namespace gatentk::cuda
