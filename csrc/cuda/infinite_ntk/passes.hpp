// What starts a pass over the pairs, for the kernels of infinite_ntk and of infinite_network.
#pragma once

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "cuda/infinite_ntk/arguments.cuh"
#include "cuda/tile/operand.hpp"
#include "gatentk/infinite_ntk.hpp"

namespace gatentk::cuda {

// Throws std::invalid_argument for what the kernels of `name` do not take.
template <class T>
void check_pairs(const char* name, const InfiniteProblem<T>& problem, int configuration) {
  constexpr std::int64_t largest = std::numeric_limits<int>::max() - 64;
  for (const RowsView<T>* view : {&problem.x, &problem.z}) {
    if (view->transposed || view->gates.bits) refuse(name, "expected samples in rows, without gates");
    if (view->rows > largest || view->width > largest) refuse(name, "expected fewer than 2^31 samples and features");
  }
  if (problem.depths.back() > largest) refuse(name, "expected a depth below 2^31");
  if (configuration < 0 || configuration >= static_cast<int>(std::size(infinite_configurations)) ||
      infinite_configurations[configuration].element_bytes != static_cast<int>(sizeof(T)))
    refuse(name, "no such configuration for this type");
}

// The depths from `first` on that fit into one pass.
inline Depths depths_from(const std::vector<std::int64_t>& depths, std::size_t first) {
  Depths result{};
  result.count = static_cast<int>(std::min<std::size_t>(max_depths, depths.size() - first));
  for (int i = 0; i < result.count; ++i) result.depth[i] = static_cast<int>(depths[first + i]);
  return result;
}

template <class T>
Samples<T> samples_of(const RowsView<T>& view, const T* norms) {
  return {view.data, view.stride, static_cast<int>(view.rows), norms, norms + view.rows};
}

// The pass for the depths from `first` on; norms and their inverses lie one after the other.
template <class T>
PairArguments<T> pair_arguments(const InfiniteProblem<T>& problem, const T* x_norms, const T* z_norms,
                                std::size_t first) {
  PairArguments<T> a{};
  a.depths = depths_from(problem.depths, first);
  a.out = problem.out + static_cast<std::int64_t>(first) * problem.out_slice;
  a.out_slice = problem.out_slice;
  a.out_stride = problem.out_stride;
  a.width = static_cast<int>(problem.x.width);
  a.symmetric = problem.symmetric;
  a.wide = rows_aligned(problem.x) && rows_aligned(problem.z);
  a.x = samples_of(problem.x, x_norms);
  a.z = samples_of(problem.z, z_norms);
  return a;
}

}  // namespace gatentk::cuda
