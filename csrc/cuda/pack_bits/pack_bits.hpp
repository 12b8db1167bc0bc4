// Masks to packed bits and back on a GPU; all pointers are device pointers.
#pragma once

#include "cuda/device/device.hpp"
#include "gatentk/pack_bits.hpp"

namespace gatentk::cuda {

// Bits start at multiples of 4 bytes and so do their rows; std::invalid_argument where they do not.
void pack_bits(const PackBits& problem, const Device& device);
void unpack_bits(const UnpackBits& problem, const Device& device);
void transpose_bits(const TransposeBits& problem, const Device& device);

}  // namespace gatentk::cuda
