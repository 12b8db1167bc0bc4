// Infinite-width kernels on the CPU.
#pragma once

#include "gatentk/infinite_ntk.hpp"

namespace gatentk::cpu {

template <class T>
void infinite_ntk(const InfiniteProblem<T>& problem, int threads);

}  // namespace gatentk::cpu
