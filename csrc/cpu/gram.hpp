// Gram matrices and their Hadamard products on the CPU.
#pragma once

#include "gatentk/gram.hpp"

namespace gatentk::cpu {

// Sums over terms are kept in double for both types. The result does not depend on the number of threads.
template <class T>
void gram(const GramProblem<T>& problem, int threads);

}  // namespace gatentk::cpu
