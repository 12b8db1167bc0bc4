// Which tile of a matrix a block computes.
#pragma once

#include "cuda/device/language.cuh"

namespace gatentk::cuda {

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

// Tile of block `block` in a grid of tiles_down x tiles_across. Blocks that run at the same time share factors in L2:
// they go down eight tiles before they go across.
__device__ __forceinline__ int2 grouped_tile(unsigned block, int tiles_down, int tiles_across) {
  constexpr int group = 8;
  const unsigned group_blocks = static_cast<unsigned>(group) * static_cast<unsigned>(tiles_across);
  const int first = static_cast<int>(block / group_blocks) * group, inside = static_cast<int>(block % group_blocks);
  const int height = min(group, tiles_down - first);
  return make_int2(first + inside % height, inside / height);
}

}  // namespace gatentk::cuda
