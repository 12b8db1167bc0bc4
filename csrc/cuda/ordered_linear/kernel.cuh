// Products in a fixed order: what gates are computed with.
#pragma once

#include <cstdint>

#include "cuda/ordered_linear/configurations.hpp"
#include "cuda/tile/order.cuh"
#include "cuda/tile/product.cuh"

namespace gatentk::cuda {

template <class T>
struct OrderedArguments {
  Operand<T> x, weight;
  bool relu;
  T* out;
  std::int64_t out_stride;
};

template <class T>
struct OrderedTile : Tile<ordered_tile.arithmetic, T, ordered_tile.rows, ordered_tile.columns, ordered_tile.warps_down,
                          ordered_tile.warps_across, ordered_tile.stages> {};

// The last k of a product, fewer than a tile has: its padding must not be added, as 0 + -0 would lose a sign.
template <class Tile, class T>
__device__ __forceinline__ void multiply_rest(Shared<T> left, Shared<T> right, int columns, Sums<Tile>& sums) {
#pragma unroll 1
  for (int k = 0; k < columns; ++k) {
    T b[Tile::sums_across];
#pragma unroll
    for (int j = 0; j < Tile::sums_across; ++j) b[j] = right[tile_index<Tile>(Sums<Tile>::column(j), k)];
#pragma unroll
    for (int i = 0; i < Tile::sums_down; ++i) {
      const T a = left[tile_index<Tile>(Sums<Tile>::row(i), k)];
#pragma unroll
      for (int j = 0; j < Tile::sums_across; ++j) sums.at(i, j) = fused_multiply_add(a, b[j], sums.at(i, j));
    }
  }
}

template <class T>
__global__ void __launch_bounds__(OrderedTile<T>::threads, ordered_tile.resident_80)
    ordered_linear_kernel(const OrderedArguments<T> arguments, int tiles_down, int tiles_across) {
  using Tile = OrderedTile<T>;
  using Copies = FactorCopies<Tile>;
  SharedArena arena;
  const Shared<T> stages = arena.take<T>(Tile::stages * Tile::stage_elements, 128);
  const int2 tile = grouped_tile(blockIdx.x, tiles_down, tiles_across);
  const int row0 = tile.x * Tile::rows, column0 = tile.y * Tile::columns;
  const int width = arguments.x.width;
  Copies copies(arguments.x, row0, arguments.weight, column0);
  const Multiplier<Tile> multiply;
  Sums<Tile> sums;
  sums.clear();
  run_pipeline<Tile::stages, Tile::stage_elements>(stages, copies, [&](Shared<T> stage, int i) {
    if ((i + 1) * Tile::depth <= width)
      multiply(stage, Copies::right_of(stage), sums);
    else
      multiply_rest<Tile>(stage, Copies::right_of(stage), width - i * Tile::depth, sums);
    return i + 1 < copies.tiles();
  });
#pragma unroll
  for (int i = 0; i < Tile::sums_down; ++i) {
    const int row = row0 + Sums<Tile>::row(i);
    if (row < arguments.x.rows) {
#pragma unroll
      for (int j = 0; j < Tile::sums_across; ++j) {
        const int column = column0 + Sums<Tile>::column(j);
        const T sum = sums.at(i, j);
        if (column < arguments.weight.rows)
          arguments.out[row * arguments.out_stride + column] = arguments.relu && sum <= 0 ? T(0) : sum;
      }
    }
  }
}

}  // namespace gatentk::cuda
