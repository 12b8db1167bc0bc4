// Configurations of the kernels over pairs of rows, and the pure functions that choose among them.
#pragma once

#include <cstdint>

#include "device.hpp"

namespace gatentk::cuda {

constexpr std::int64_t tiles_of(std::int64_t rows, std::int64_t side) {
  return (rows + side - 1) / side;
}

// Square tiles that cover rows x columns; of a symmetric matrix those of one triangle and its diagonal.
constexpr std::int64_t square_tiles(std::int64_t rows, std::int64_t columns, bool symmetric, std::int64_t side) {
  const std::int64_t down = tiles_of(rows, side), across = tiles_of(columns, side);
  return symmetric ? down * (down + 1) / 2 : down * across;
}

// Infinite-width kernels of float or double: a block computes side x side pairs with two threads to a row.
struct InfiniteConfiguration {
  const char* name;
  int side, element_bytes;
};

constexpr InfiniteConfiguration infinite_configurations[] = {
    {"f32 64x64", 64, 4}, {"f32 32x32", 32, 4}, {"f64 64x64", 64, 8}, {"f64 32x32", 32, 8}};

template <int side, int element_bytes>
struct InfiniteLayout {
  static constexpr int threads = 2 * side;
  // Blocks to a multiprocessor that registers must allow. The product of float takes 168, which leaves 12 warps; a
  // sweep in double does with 128, for 16 warps.
  static constexpr int sweep_blocks = (element_bytes == 4 ? 12 : 16) * 32 / threads;
  static constexpr int component_blocks = 12 * 32 / threads;
  static constexpr int stages = 3;
  // Four copies of 16 bytes per row.
  static constexpr int stage_columns = 64 / element_bytes;
  // Rows of a stage lie 80 bytes apart for float: the eight rows that eight lanes read 16 bytes of fall into different
  // banks. For double 96 bytes: so do the four rows by four columns that a half warp reads 8 bytes of.
  static constexpr int stage_pitch = (element_bytes == 4 ? 80 : 96) / element_bytes;
  static constexpr int stage_size = side * stage_pitch;
  // Rows of the finished tile lie 16 bytes beyond a multiple of 128 apart, so that 8 rows x 4 columns (of double, a
  // half warp, 8 x 2) that are read across, for the mirrored half of a symmetric matrix, fall into different banks.
  static constexpr int tile_pitch = side + 16 / element_bytes;
  // The stages of both factors, then in the same place the finished tile.
  static constexpr int stages_size = stages * 2 * stage_size;
  static constexpr int tile_size = side * tile_pitch;
  static constexpr int shared_size = stages_size > tile_size ? stages_size : tile_size;
  static constexpr int shared_bytes = shared_size * element_bytes;
};

// Small tiles until the large ones fill every multiprocessor twice.
constexpr int choose_infinite_ntk(const Device& device, int element_bytes, std::int64_t rows, std::int64_t columns,
                                  bool symmetric) {
  const int large = element_bytes == 4 ? 0 : 2;
  return square_tiles(rows, columns, symmetric, 64) >= 2 * std::int64_t{device.multiprocessors} ? large : large + 1;
}

// The norms of the samples, a warp to each.
constexpr int norm_threads = 128;

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

// The largest tile of the architecture's kind that still gives every multiprocessor a block.
constexpr int choose_gate_gram(const Device& device, std::int64_t rows, std::int64_t columns, bool symmetric) {
  const int large = has_one_bit_tensor_cores(device.architecture) ? 0 : 2;
  const int side = gate_gram_configurations[large].side;
  return square_tiles(rows, columns, symmetric, side) >= device.multiprocessors ? large : large + 1;
}

// Packing: a warp has 32 words of 32 bits.
constexpr int pack_threads = 256;

struct TransposeLayout {
  static constexpr int side = 256;
  static constexpr int words = side / 32;
  // An odd number of words: 32 rows, read or written down a column, lie in different banks.
  static constexpr int pitch = words + 1;
  static constexpr int shared_bytes = 2 * side * pitch * 4;
};
constexpr int transpose_threads = TransposeLayout::side;

}  // namespace gatentk::cuda
