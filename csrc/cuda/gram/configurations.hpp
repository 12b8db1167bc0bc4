// Tile configurations of the Gram matrices.
#pragma once

#include <cstdint>
#include <iterator>

#include "cuda/tile/configuration.hpp"

namespace gatentk::cuda {

// A gram block keeps the sums of one factor in shared memory, whatever the arithmetic.
inline constexpr TileConfiguration gram_table[] = {
    {"strict_128x128", Arithmetic::fma, 128, 128, 4, 2, 3, 1, 1},
    {"strict_64x64", Arithmetic::fma, 64, 64, 2, 2, 3, 2, 3},
    {"tf32x3_128x128", Arithmetic::tf32x3, 128, 128, 2, 4, 3, 1, 1},
    {"tf32x3_64x64", Arithmetic::tf32x3, 64, 64, 2, 2, 3, 2, 3},
    {"tf32_128x128", Arithmetic::tf32, 128, 128, 2, 2, 3, 1, 1},
    {"tf32_64x64", Arithmetic::tf32, 64, 64, 2, 2, 3, 2, 3},
    {"f64_64x64", Arithmetic::f64, 64, 64, 2, 2, 3, 2, 2},
    {"f64_32x32", Arithmetic::f64, 32, 32, 1, 2, 3, 4, 6},
};

constexpr int gram_configurations = static_cast<int>(std::size(gram_table));
constexpr int gram_shared_bytes(const TileConfiguration& tile) {
  return tile.stages * tile.stage_bytes() + tile.sum_bytes();
}

constexpr int choose_gram(Arithmetic arithmetic, const Device& device, std::int64_t rows, std::int64_t columns,
                          bool symmetric) {
  return choose_tile(gram_table, &gram_shared_bytes, arithmetic, device, rows, columns, symmetric);
}

}  // namespace gatentk::cuda
