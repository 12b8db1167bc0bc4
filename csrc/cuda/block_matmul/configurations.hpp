// Tile configurations of products whose gates blocks of neighbouring neurons share, and the choice among them.
#pragma once

#include <cstdint>
#include <iterator>

#include "cuda/tile/configuration.hpp"

namespace gatentk::cuda {

// A block of threads lists the samples of a part of a unit's row of bits.
constexpr int list_threads = 256;
constexpr int list_words = 64;  // 32 samples each
constexpr int list_shared_bytes = 3 * list_threads / 32 * 4;

// Rows of the left factor are gathered; columns never cross a unit, so their number divides that of its neurons. Warps
// of 64 x 64 read shared memory least, 8 matrix loads for 32 products; tall tiles read a unit's weights least often.
inline constexpr TileConfiguration block_matmul_table[] = {
    {"bf16_256x128", Arithmetic::bf16, 256, 128, 4, 2, 3, 1, 1},
    {"bf16_128x128", Arithmetic::bf16, 128, 128, 2, 2, 3, 1, 2},
    {"bf16_256x64", Arithmetic::bf16, 256, 64, 4, 1, 2, 2, 2},
    {"bf16_128x64", Arithmetic::bf16, 128, 64, 2, 2, 3, 2, 3},
    {"bf16_256x32", Arithmetic::bf16, 256, 32, 4, 1, 2, 2, 3},
    {"tf32_256x128", Arithmetic::tf32, 256, 128, 4, 2, 3, 1, 1},
    {"tf32_128x128", Arithmetic::tf32, 128, 128, 2, 2, 3, 1, 2},
    {"tf32_256x64", Arithmetic::tf32, 256, 64, 4, 1, 2, 2, 2},
    {"tf32_128x64", Arithmetic::tf32, 128, 64, 2, 2, 3, 2, 3},
    {"tf32_256x32", Arithmetic::tf32, 256, 32, 4, 1, 2, 2, 3},
    {"tf32x3_128x128", Arithmetic::tf32x3, 128, 128, 2, 4, 3, 1, 1},
    {"tf32x3_128x64", Arithmetic::tf32x3, 128, 64, 2, 2, 2, 2, 2},
    {"tf32x3_128x32", Arithmetic::tf32x3, 128, 32, 4, 1, 3, 2, 2},
    {"f64_64x64", Arithmetic::f64, 64, 64, 2, 2, 3, 2, 2},
    {"f64_64x32", Arithmetic::f64, 64, 32, 4, 1, 3, 3, 4},
};

constexpr int block_matmul_configurations = static_cast<int>(std::size(block_matmul_table));

// Stages, the numbers of the rows, and a second set of sums.
constexpr int block_matmul_shared_bytes(const TileConfiguration& tile) {
  return tile.stages * tile.stage_bytes() + tile.rows * 4 + (tile.flushes() ? tile.sum_bytes() : 0);
}

// Whether no tile of that many columns crosses a unit. `block` is at least `columns` where there is one unit.
constexpr bool fits_units(const TileConfiguration& tile, std::int64_t columns, std::int64_t block) {
  return block >= columns || block % tile.columns == 0;
}

// Multiply-adds that a multiprocessor makes while one element of a factor arrives from L2: with H100's 132 times 24
// bytes a clock (5.5 TB/s) and 64% of the tensor cores' peak, which is what mma.sync reaches; about the same on A100.
constexpr int products_per_load(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::bf16 || arithmetic == Arithmetic::tf32 ? 112 : 32;
}

// The configuration of `arithmetic` that starts on the device and computes `rows` x `columns` outputs, half of which
// are on, in the least time, counted in rounds of blocks over the whole GPU. A round takes as long as the products of a
// multiprocessor or as its loads from L2, of which gates leave half of the left factor out. Where none starts, the one
// that asks for the least shared memory; -1 if none fits the units.
constexpr int choose_block_matmul(Arithmetic arithmetic, const Device& device, std::int64_t rows, std::int64_t columns,
                                  std::int64_t block) {
  int best = -1, least = -1;
  double best_time = 0;
  for (int i = 0; i < block_matmul_configurations; ++i) {
    const TileConfiguration& tile = block_matmul_table[i];
    if (tile.arithmetic != arithmetic || !fits_units(tile, columns, block)) continue;
    const int shared_bytes = block_matmul_shared_bytes(tile);
    if (least < 0 || shared_bytes < block_matmul_shared_bytes(block_matmul_table[least])) least = i;
    const int held = device.blocks_with(shared_bytes);
    if (held == 0) continue;
    const std::int64_t down = (rows + 2 * tile.rows - 1) / (2 * tile.rows);
    const std::int64_t across = (columns + tile.columns - 1) / tile.columns;
    // Blocks that a multiprocessor computes; those that it holds at once share its speed.
    const std::int64_t share = (down * across + device.multiprocessors - 1) / device.multiprocessors;
    const std::int64_t resident = tile.resident(device.architecture) < held ? tile.resident(device.architecture) : held;
    const std::int64_t together = share < resident ? share : resident;
    const std::int64_t rounds = together ? (share + together - 1) / together : 0;
    const int products = tile.rows * tile.columns;
    const int loads = (tile.rows / 2 + tile.columns) * products_per_load(arithmetic);
    const double time = static_cast<double>(rounds * together * (products > loads ? products : loads));
    if (best < 0 || time < best_time) best = i, best_time = time;
  }
  return best < 0 ? least : best;
}

}  // namespace gatentk::cuda
