// Sums of Hadamard products of Gram matrices on a GPU; all pointers are device pointers.
#pragma once

#include "cuda/device/device.hpp"
#include "cuda/tile/configuration.hpp"
#include "gatentk/gram.hpp"

namespace gatentk::cuda {

// Sums are kept in T. Gates of both sides of a factor mask it; without gates the product is dense.
// `precision` counts for floats only, see arithmetic_of: a term with a narrow factor may take another arithmetic than
// the rest. `configuration` is an index into gram_table of the arithmetic that is asked for, for all terms, or -1.
template <class T>
void gram(const GramProblem<T>& problem, Precision precision, const Device& device, int configuration = -1);

}  // namespace gatentk::cuda
