// The copies that bring tiles of the matrix products' factors to shared memory.
#pragma once

#include <cstdint>

#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/tile/operand.hpp"
#include "cuda/tile/shape.cuh"

namespace gatentk::cuda {

// Copies the tiles of one factor, `rows` of its rows from row0 on, to shared memory; eight lanes copy a row.
template <class Tile, int rows>
class TileCopy {
 public:
  using T = typename Tile::Element;

  __device__ __forceinline__ TileCopy(const Operand<T>& operand, int row0)
      : operand_(operand),
        data_(operand.data + std::int64_t{row0 + row()} * operand.stride + k()),
        rows_left_(operand.rows - row0 - row()),
        to_(tile_index<Tile>(row(), k())) {}

  // Starts the copies of a tile; rows and columns beyond the factor's become zeros.
  __device__ __forceinline__ void issue(int tile, Shared<T> to) const {
    const T* from = data_ + tile * Tile::depth;
    const int rows_left = tile * Tile::depth + k() < operand_.width ? rows_left_ : 0;
    // One address after the other: all rows' distances at once would occupy registers in the whole main loop.
#pragma unroll
    for (int i = 0; i < copies; ++i) {
      copy_async<16>(to, to_ + i * step * Tile::depth, from, i * step < rows_left);
      from += std::int64_t{step} * operand_.stride;
    }
  }

 private:
  static constexpr int step = Tile::threads / 8, copies = rows / step;
  static_assert(step % 8 == 0 && rows % step == 0);  // rows 8 apart have the same swizzle

  __device__ __forceinline__ static int row() { return static_cast<int>(threadIdx.x / 8); }
  __device__ __forceinline__ static int k() { return static_cast<int>(threadIdx.x % 8) * Tile::chunk; }

  const Operand<T>& operand_;  // a parameter of the kernel: read where needed, not held in registers
  const T* data_;              // of this lane's first element in k-tile 0
  int rows_left_;              // of the factor from this lane's first row on
  int to_;                     // where this lane's first element goes in a tile
};

}  // namespace gatentk::cuda
