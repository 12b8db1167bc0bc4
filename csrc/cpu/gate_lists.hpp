// The neurons that four samples have on, in the order in which a kernel of counts visits them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gatentk::cpu {

// A block of a panel of transposed bits: a vector for each neuron and one of zeros, about half of a first-level cache.
constexpr int gate_block_bytes = 16384;
constexpr int gate_block_neurons = 1024;  // at most: of vectors of 16 bytes

// Byte offsets of the vectors of one block, sorted by the pattern of the four samples (1..15; bit r: on in row r),
// every pattern's list filled up with the vector of zeros to a multiple of eight.
struct GateLists {
  std::uint16_t eights[16];  // lengths by pattern, in eights
  std::uint16_t offsets[gate_block_neurons + 15 * 7];
};

}  // namespace gatentk::cpu
