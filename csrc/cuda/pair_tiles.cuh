// Which tile of a matrix over pairs of rows a block computes.
#pragma once

#include "device.cuh"

namespace gatentk::cuda {

constexpr unsigned all_lanes = 0xffffffffu;

// Tile `index` of those on and above the diagonal, column by column: (row, column) with row <= column.
__device__ __forceinline__ int2 triangle_tile(unsigned index) {
  int column = static_cast<int>((sqrt(8.0 * index + 1) - 1) / 2);
  // The root is rounded: step to the exact column.
  while ((column + 1LL) * (column + 2LL) / 2 <= index) ++column;
  while (column * (column + 1LL) / 2 > index) --column;
  return make_int2(static_cast<int>(index - column * (column + 1LL) / 2), column);
}

// (row, column) of this block's tile in a matrix `across` tiles wide; see square_tiles for their number.
__device__ __forceinline__ int2 tile_of_block(bool symmetric, int across) {
  if (symmetric) return triangle_tile(blockIdx.x);
  return make_int2(static_cast<int>(blockIdx.x / across), static_cast<int>(blockIdx.x % across));
}

}  // namespace gatentk::cuda
