// Infinite-width kernels of networks with weight and bias variances on a GPU; all pointers are device pointers.
#pragma once

#include "cuda/device/device.hpp"
#include "gatentk/infinite_ntk.hpp"

namespace gatentk::cuda {

// Elements of T that infinite_network needs for the norms of the samples, and for what layers ask of them.
template <class T>
std::int64_t infinite_network_workspace(const InfiniteProblem<T>& problem);

// One pass over the pairs for every 256 depths; `workspace` starts at a multiple of 16 bytes. Throws
// std::invalid_argument for views that are transposed or gated, for sizes and depths that do not fit an int, and for
// erf and GELU of floats. `configuration` is an index into infinite_configurations of the type, or -1.
template <class T>
void infinite_network(const InfiniteProblem<T>& problem, T* workspace, const Device& device, int configuration = -1);

}  // namespace gatentk::cuda
