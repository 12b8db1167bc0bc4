// Tile configurations of the products of masked factors.
#pragma once

#include <cstdint>
#include <iterator>

#include "cuda/tile/configuration.hpp"

namespace gatentk::cuda {

// The large tiles read shared memory least: a warp's part of 64 x 32 takes 6 matrix loads for 16 products of m16n8k8.
// tf32 and bf16 need no second set of sums nor split elements and have registers for 64 x 64: 8 loads for 32. The small
// tiles fill a GPU with problems of few outputs.
inline constexpr TileConfiguration masked_matmul_table[] = {
    {"strict_128x128", Arithmetic::fma, 128, 128, 4, 2, 3, 1, 1},
    {"strict_64x64", Arithmetic::fma, 64, 64, 2, 2, 3, 2, 3},
    {"tf32x3_128x128", Arithmetic::tf32x3, 128, 128, 2, 4, 3, 1, 1},
    {"tf32x3_64x64", Arithmetic::tf32x3, 64, 64, 2, 2, 3, 2, 3},
    {"tf32_128x128", Arithmetic::tf32, 128, 128, 2, 2, 4, 1, 1},
    {"tf32_64x64", Arithmetic::tf32, 64, 64, 2, 2, 3, 3, 3},
    {"f64_64x64", Arithmetic::f64, 64, 64, 2, 2, 3, 2, 2},
    {"f64_32x32", Arithmetic::f64, 32, 32, 1, 2, 3, 4, 6},
    {"bf16_128x128", Arithmetic::bf16, 128, 128, 2, 2, 4, 1, 1},
    {"bf16_64x64", Arithmetic::bf16, 64, 64, 2, 2, 3, 3, 3},
};

constexpr int masked_matmul_configurations = static_cast<int>(std::size(masked_matmul_table));

constexpr int masked_matmul_shared_bytes(const TileConfiguration& tile) {
  return tile.stages * tile.stage_bytes() + search_bytes + (tile.flushes() ? tile.sum_bytes() : 0);
}

constexpr int choose_masked_matmul(Arithmetic arithmetic, const Device& device, std::int64_t rows,
                                   std::int64_t columns) {
  return choose_tile(masked_matmul_table, &masked_matmul_shared_bytes, arithmetic, device, rows, columns);
}

}  // namespace gatentk::cuda
