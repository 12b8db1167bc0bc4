// Tile configurations of weight gradients whose gates blocks of neighbouring neurons share, and the choice among them.
#pragma once

#include <cstdint>
#include <iterator>

#include "cuda/block_matmul/configurations.hpp"
#include "cuda/tile/configuration.hpp"
#include "cuda/tile/grid.hpp"

namespace gatentk::cuda {

// Neither rows nor columns of a tile cross a unit. Warps of 64 x 64 read shared memory least; tf32x3 has registers for
// 64 x 32, and four of its blocks of two such warps fit on sm_90 only. Two stages are enough where two blocks or more
// share a multiprocessor. Units of 32 have tiles where the tensor cores make less than 32 products while an element
// comes from L2: not in bfloat16 and TF32.
inline constexpr TileConfiguration weight_gradient_table[] = {
    {"bf16_256x128", Arithmetic::bf16, 256, 128, 4, 2, 3, 1, 1},
    {"bf16_128x128", Arithmetic::bf16, 128, 128, 2, 2, 2, 2, 2},
    {"bf16_64x64", Arithmetic::bf16, 64, 64, 1, 2, 2, 4, 6},
    {"tf32_256x128", Arithmetic::tf32, 256, 128, 4, 2, 3, 1, 1},
    {"tf32_128x128", Arithmetic::tf32, 128, 128, 2, 2, 2, 2, 2},
    {"tf32_64x64", Arithmetic::tf32, 64, 64, 1, 2, 2, 4, 6},
    {"tf32x3_128x128", Arithmetic::tf32x3, 128, 128, 2, 4, 2, 1, 1},
    {"tf32x3_64x64", Arithmetic::tf32x3, 64, 64, 2, 2, 2, 2, 3},
    {"tf32x3_64x64_w2", Arithmetic::tf32x3, 64, 64, 1, 2, 2, 3, 4},
    {"tf32x3_32x32", Arithmetic::tf32x3, 32, 32, 1, 1, 2, 7, 9},
    {"f64_64x64", Arithmetic::f64, 64, 64, 2, 2, 2, 2, 2},
    {"f64_32x32", Arithmetic::f64, 32, 32, 1, 2, 2, 5, 7},
};

constexpr int weight_gradient_configurations = static_cast<int>(std::size(weight_gradient_table));

// Samples that a block looks through at once, half a word of bits or a whole one for each thread, and the room for the
// numbers of those that are on: a tile's remainder of the piece before, and all of a piece.
constexpr int piece_samples(int threads) {
  return threads >= 128 ? 4096 : 16 * threads;
}
constexpr int list_entries(const TileConfiguration& tile) {
  return piece_samples(tile.threads()) + tile_row_bytes / 2;
}

// Counts of the warps, 16 bytes or 32: what follows is aligned to 16.
constexpr int list_counts(int threads) {
  return threads > 128 ? 8 : 4;
}

constexpr int weight_gradient_shared_bytes(const TileConfiguration& tile) {
  return tile.stages * tile.stage_bytes() + 4 * (list_entries(tile) + list_counts(tile.threads())) +
         (tile.flushes() ? tile.sum_bytes() : 0);
}

// Rows or columns of the outputs: those of a unit are `block` neighbours, the last unit may have fewer.
struct UnitExtent {
  std::int64_t size = 0, block = 1;

  constexpr std::int64_t units() const { return tiles_of(size, block); }
  constexpr std::int64_t tiles(int side) const { return units() * tiles_of(block < size ? block : size, side); }
};

// With all of both factors.
constexpr int choose_weight_gradient(Arithmetic arithmetic, const Device& device, const UnitExtent& rows,
                                     const UnitExtent& columns) {
  return choose_gathered(weight_gradient_table, &weight_gradient_shared_bytes, arithmetic, device, 1,
                         [&](const TileConfiguration& tile) {
                           return static_cast<double>(rows.tiles(tile.rows) * columns.tiles(tile.columns));
                         });
}

}  // namespace gatentk::cuda
