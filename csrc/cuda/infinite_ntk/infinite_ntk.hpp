// Infinite-width kernels on a GPU; all pointers are device pointers.
#pragma once

#include "cuda/device/device.hpp"
#include "gatentk/infinite_ntk.hpp"

namespace gatentk::cuda {

// Elements of T that infinite_ntk needs to keep the norms of the samples in.
template <class T>
std::int64_t infinite_workspace(const InfiniteProblem<T>& problem);

// One pass over the pairs for every 256 depths. Throws std::invalid_argument for views that are transposed or gated,
// and for sizes and depths that do not fit an int.
template <class T>
void infinite_ntk(const InfiniteProblem<T>& problem, T* workspace, const Device& device, int configuration = -1);

}  // namespace gatentk::cuda
