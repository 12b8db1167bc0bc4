// Tile configurations of products whose gates blocks of neighbouring neurons share, and the choice among them.
#pragma once

#include <cstddef>
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
// Blocks that a multiprocessor of sm_80 too holds twice have two stages.
inline constexpr TileConfiguration block_matmul_table[] = {
    {"bf16_256x128", Arithmetic::bf16, 256, 128, 4, 2, 3, 1, 1},
    {"bf16_128x128", Arithmetic::bf16, 128, 128, 2, 2, 3, 1, 2},
    {"bf16_128x128_s2", Arithmetic::bf16, 128, 128, 2, 2, 2, 2, 2},
    {"bf16_256x64", Arithmetic::bf16, 256, 64, 4, 1, 2, 2, 2},
    {"bf16_128x64", Arithmetic::bf16, 128, 64, 2, 2, 3, 2, 3},
    {"bf16_256x32", Arithmetic::bf16, 256, 32, 4, 1, 2, 2, 3},
    {"tf32_256x128", Arithmetic::tf32, 256, 128, 4, 2, 3, 1, 1},
    {"tf32_128x128", Arithmetic::tf32, 128, 128, 2, 2, 3, 1, 2},
    {"tf32_128x128_s2", Arithmetic::tf32, 128, 128, 2, 2, 2, 2, 2},
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

// What a multiprocessor does beside multiplying, in multiply-adds of the same time: loads from L2 (by element; 9.0 TB/s
// on H100 and 5.4 on A100, https://github.com/te42kyfo/gpu-benches) and loads of fragments from shared memory (by row
// of a fragment and k), at 64% of the tensor cores' peak on H100, which is what mma.sync reaches (arXiv:2402.13499).
struct ProductCosts {
  int load, fragment;
};
constexpr ProductCosts product_costs(Arithmetic arithmetic) {
  switch (arithmetic) {
    case Arithmetic::tf32x3:
      return {22, 10};
    case Arithmetic::f64:
      return {14, 4};
    default:
      return {64, 31};
  }
}

// Time for which a block occupies its multiprocessor, in multiply-adds a k: of products, fragments and loads what takes
// longest, and a quarter of what this should hide. `left_share`: of the left factor what gates leave to be loaded.
constexpr double block_time(const TileConfiguration& tile, double left_share) {
  const ProductCosts costs = product_costs(tile.arithmetic);
  const double products = tile.rows * tile.columns, loads = costs.load * (left_share * tile.rows + tile.columns);
  const double fragments = costs.fragment * (tile.rows * tile.warps_across + tile.columns * tile.warps_down);
  const double some = products > fragments ? products : fragments, longest = some > loads ? some : loads;
  return longest + (products + fragments + loads - longest) / 4;
}

// The configuration of `arithmetic` that starts on the device and computes all blocks in the least time; they end
// anywhere in a round. Where a scheduler has less than two warps it waits for results. Where none starts, the one that
// asks for the least shared memory; -1 if there is none. blocks_of(tile): how many there are, negative if it fits not.
template <std::size_t count, class Blocks>
constexpr int choose_gathered(const TileConfiguration (&table)[count], int (*shared_bytes)(const TileConfiguration&),
                              Arithmetic arithmetic, const Device& device, double left_share, Blocks blocks_of) {
  constexpr double few_warps_speed = 0.75;
  int best = -1, least = -1;
  double best_time = 0;
  for (int i = 0; i < static_cast<int>(count); ++i) {
    const TileConfiguration& tile = table[i];
    const double blocks = tile.arithmetic == arithmetic ? blocks_of(tile) : -1;
    if (blocks < 0) continue;
    if (least < 0 || shared_bytes(tile) < shared_bytes(table[least])) least = i;
    const int held = device.blocks_with(shared_bytes(tile));
    if (held == 0) continue;
    // Blocks that a multiprocessor computes, and those that it holds at once.
    const double share = blocks / device.multiprocessors;
    const int resident = tile.resident(device.architecture) < held ? tile.resident(device.architecture) : held;
    const double together = share < 1 ? 1 : share < resident ? share : resident;
    const double speed = together * tile.threads() < 256 ? few_warps_speed : 1;
    const double time = (share < 1 ? 1 : share + 0.5) * block_time(tile, left_share) / speed;
    if (best < 0 || time < best_time) best = i, best_time = time;
  }
  return best < 0 ? least : best;
}

// Of `rows` x `columns` outputs half are on, and the lists of a unit's samples end anywhere in a tile. -1 if no tile
// fits the units.
constexpr int choose_block_matmul(Arithmetic arithmetic, const Device& device, std::int64_t rows, std::int64_t columns,
                                  std::int64_t block) {
  return choose_gathered(block_matmul_table, &block_matmul_shared_bytes, arithmetic, device, 0.5,
                         [=](const TileConfiguration& tile) {
                           const double down = 0.5 * static_cast<double>(rows) / tile.rows + 0.5;
                           return fits_units(tile, columns, block)
                                      ? down * static_cast<double>((columns + tile.columns - 1) / tile.columns)
                                      : -1;
                         });
}

}  // namespace gatentk::cuda
