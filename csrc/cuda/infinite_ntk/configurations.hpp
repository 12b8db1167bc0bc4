// Configurations of the infinite-width kernels, and the pure function that chooses among them.
#pragma once

#include <cstdint>

#include "cuda/device/device.hpp"
#include "cuda/tile/grid.hpp"

namespace gatentk::cuda {

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
  // What erf and GELU keep of eight pairs would spill with 12 warps.
  static constexpr int smooth_blocks = 8 * 32 / threads;
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

template <int configuration>
using ConfiguredInfinite =
    InfiniteLayout<infinite_configurations[configuration].side, infinite_configurations[configuration].element_bytes>;

constexpr int infinite_shared_bytes[] = {ConfiguredInfinite<0>::shared_bytes, ConfiguredInfinite<1>::shared_bytes,
                                         ConfiguredInfinite<2>::shared_bytes, ConfiguredInfinite<3>::shared_bytes};

// Small tiles until the large ones fill every multiprocessor twice, and where the large ones do not start.
constexpr int choose_infinite_ntk(const Device& device, int element_bytes, std::int64_t rows, std::int64_t columns,
                                  bool symmetric) {
  const int large = element_bytes == 4 ? 0 : 2;
  if (device.blocks_with(infinite_shared_bytes[large]) == 0) return large + 1;
  return square_tiles(rows, columns, symmetric, 64) >= 2 * std::int64_t{device.multiprocessors} ? large : large + 1;
}

// The norms of the samples, a warp to each.
constexpr int norm_threads = 128;

// What the layers of a network ask of the samples: the warps of a block add up the squares of samples_per_block of
// them, then each lane of the first takes one through the layers.
constexpr int network_sample_threads = 128;
constexpr int samples_per_block = 32;
constexpr int network_sample_bytes = 2 * samples_per_block * static_cast<int>(sizeof(double));

}  // namespace gatentk::cuda
