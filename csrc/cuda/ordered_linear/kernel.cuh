// Products in a fixed order: what gates are computed with.
#pragma once

#include <cstdint>

#include "cuda/tile/copy.cuh"
#include "cuda/tile/multiply.cuh"
#include "cuda/tile/order.cuh"
#include "cuda/tile/sums.cuh"

namespace gatentk::cuda {

template <class T>
struct OrderedArguments {
  Operand<T> x, weight;
  bool relu;
  T* out;
  std::int64_t out_stride;
};

// 64 x 64 outputs, 8 x 4 a thread, two stages.
template <class T>
struct OrderedTile : Tile<Arithmetic::fma, T, 64, 64, 2, 2, 2> {};
constexpr int ordered_shared_bytes = 2 * (64 + 64) * tile_row_bytes;

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
__global__ void __launch_bounds__(OrderedTile<T>::threads)
    ordered_linear_kernel(const OrderedArguments<T> arguments, int tiles_down, int tiles_across) {
  using Tile = OrderedTile<T>;
  constexpr int right_at = Tile::rows * Tile::depth;
  SharedArena arena;
  const Shared<T> stages = arena.take<T>(Tile::stages * Tile::stage_elements, 128);
  const int2 tile = tile_of_block(blockIdx.x, tiles_down, tiles_across);
  const int row0 = tile.x * Tile::rows, column0 = tile.y * Tile::columns;
  const int width = arguments.x.width, tiles = (width + Tile::depth - 1) / Tile::depth;
  TileCopy<Tile, Tile::rows> copy_x(arguments.x, row0);
  TileCopy<Tile, Tile::columns> copy_weight(arguments.weight, column0);
  const Multiplier<Tile> multiply;
  Sums<Tile> sums;
  sums.clear();
#pragma unroll 1
  for (int i = -1; i < tiles; ++i) {
    __syncthreads();  // all warps are done with the stage that is filled next
    if (i + 1 < tiles) {
      const Shared<T> stage = stages.from((i + 1) % 2 * Tile::stage_elements);
      copy_x.load_gates(i + 1), copy_weight.load_gates(i + 1);
      copy_x.issue(i + 1, stage), copy_weight.issue(i + 1, stage.from(right_at));
    }
    commit_copies();
    if (i < 0) continue;
    const Shared<T> stage = stages.from(i % 2 * Tile::stage_elements);
    wait_copies<1>();
    __syncthreads();
    if ((i + 1) * Tile::depth <= width)
      multiply(stage, stage.from(right_at), sums);
    else
      multiply_rest<Tile>(stage, stage.from(right_at), width - i * Tile::depth, sums);
  }
  wait_copies<0>();
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
