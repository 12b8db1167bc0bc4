// Masks to packed bits and back on the CPU.
#pragma once

#include "gatentk/pack_bits.hpp"

namespace gatentk::cpu {

void pack_bits(const PackBits& problem, int threads);
void unpack_bits(const UnpackBits& problem, int threads);
void transpose_bits(const TransposeBits& problem, int threads);

}  // namespace gatentk::cpu
