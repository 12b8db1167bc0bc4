// Configurations of the counts of gates, and the pure function that chooses among them.
#pragma once

#include <cstdint>

#include "cuda/device/device.hpp"
#include "cuda/tile/grid.hpp"

namespace gatentk::cuda {

// Gates on in both of two rows: square tiles of counts, by one-bit tensor cores or by POPC.
struct GateGramConfiguration {
  const char* name;
  int side;
  bool tensor;
};

constexpr GateGramConfiguration gate_gram_configurations[] = {
    {"tensor 128x128", 128, true}, {"tensor 64x64", 64, true}, {"popc 64x64", 64, false}, {"popc 32x32", 32, false}};

// SASS of CUDA 13: BMMA on sm_80 and sm_90; sm_100 unpacks the bits for eight IMMA, 14 times the instructions.
constexpr bool has_one_bit_tensor_cores(int architecture) {
  return architecture >= 80 && architecture < 100;
}

constexpr bool serves(const GateGramConfiguration& configuration, int architecture) {
  return configuration.tensor == has_one_bit_tensor_cores(architecture);
}

template <int side, bool tensor>
struct GateGramLayout {
  // With tensor cores 2 warps down, side/32 across, of side/2 x 32 counts; else 4 x 4 counts to a thread.
  static constexpr int threads = tensor ? 2 * side : side * side / 16;
  static constexpr int stages = 3;
  // 64 bytes of bits per row and stage; rows 80 bytes apart, so that eight of them, 16 bytes each, as lanes and
  // ldmatrix read them, fall into different banks.
  static constexpr int stage_words = 16;
  static constexpr int pitch = 20;
  static constexpr int stage_size = side * pitch;
  static constexpr int shared_size = stages * 2 * stage_size;
  static constexpr int shared_bytes = 4 * shared_size;
};

template <int configuration>
using ConfiguredGateGram =
    GateGramLayout<gate_gram_configurations[configuration].side, gate_gram_configurations[configuration].tensor>;

constexpr int gate_gram_shared_bytes[] = {ConfiguredGateGram<0>::shared_bytes, ConfiguredGateGram<1>::shared_bytes,
                                          ConfiguredGateGram<2>::shared_bytes, ConfiguredGateGram<3>::shared_bytes};

// The largest tile of the architecture's kind that starts and still gives every multiprocessor a block; where none
// starts, the smaller one.
constexpr int choose_gate_gram(const Device& device, std::int64_t rows, std::int64_t columns, bool symmetric) {
  const int large = has_one_bit_tensor_cores(device.architecture) ? 0 : 2;
  const int side = gate_gram_configurations[large].side;
  const bool starts = device.blocks_with(gate_gram_shared_bytes[large]) > 0;
  return starts && square_tiles(rows, columns, symmetric, side) >= device.multiprocessors ? large : large + 1;
}

}  // namespace gatentk::cuda
