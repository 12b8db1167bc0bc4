// Sums of Hadamard products of Gram matrices on a GPU; all pointers are device pointers.
#pragma once

#include "cuda/device/device.hpp"
#include "cuda/tile/configuration.hpp"
#include "gatentk/gram.hpp"

namespace gatentk::cuda {

// Sums are kept in T. Factors have no gates: their rows start at multiples of 16 bytes and are followed by zeros up to
// the next one; std::invalid_argument where they have, or start elsewhere.
// `precision` counts for floats only, see arithmetic_of: a term with a narrow factor may take another arithmetic than
// the rest. `configuration` is an index into gram_table of the arithmetic that is asked for, for all terms, or -1.
template <class T>
void gram(const GramProblem<T>& problem, Precision precision, const Device& device, int configuration = -1);

}  // namespace gatentk::cuda
