// How many gates two samples have on in common, on a GPU; all pointers are device pointers.
#pragma once

#include "cuda/device/device.hpp"
#include "gatentk/gate_gram.hpp"

namespace gatentk::cuda {

// Rows of bits start at multiples of 16 bytes and are padded with zeros to whole groups of 16 bytes. Throws
// std::invalid_argument for others, and for sizes that do not fit an int.
void gate_gram(const GateGram& problem, const Device& device, int configuration = -1);

}  // namespace gatentk::cuda
