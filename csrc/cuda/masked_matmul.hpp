// Products of two masked factors on a GPU; all pointers are device pointers.
#pragma once

#include "bfloat16.hpp"
#include "configurations.hpp"
#include "device.hpp"
#include "gatentk/masked_matmul.hpp"

namespace gatentk::cuda {

// out = left columns^T; without gates the product is dense. `precision` counts for floats
// only, see arithmetic_of. T: float, double, Bfloat16 (summed in float). `configuration` is an index into
// masked_matmul_table of the arithmetic that is asked for, or -1.
template <class T>
void masked_matmul(const MaskedProduct<T>& product, Precision precision, const Device& device, int configuration = -1);

// out = x weight^T; every element is one chain of fused multiply-adds over rising columns, from 0, bit for bit that of
// the CPU. Negative results become 0 if `relu`. T: float, double.
template <class T>
void ordered_linear(const RowsView<T>& x, const RowsView<T>& weight, bool relu, T* out, std::int64_t out_stride,
                    const Device& device);

}  // namespace gatentk::cuda
