// Products of two masked factors on a GPU; all pointers are device pointers.
#pragma once

#include "cuda/device/bfloat16.hpp"
#include "cuda/device/device.hpp"
#include "cuda/tile/configuration.hpp"
#include "gatentk/masked_matmul.hpp"

namespace gatentk::cuda {

// Without gates the product is dense. `precision` counts for floats only, see arithmetic_of. T: float, double, Bfloat16
// (summed in float). `configuration` is an index into masked_matmul_table of the arithmetic that is asked for, or -1.
template <class T>
void masked_matmul(const MaskedProduct<T>& product, Precision precision, const Device& device, int configuration = -1);

}  // namespace gatentk::cuda
