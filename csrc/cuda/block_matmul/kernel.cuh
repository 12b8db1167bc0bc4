// The product of gathered rows: for a unit of outputs the samples that it is on for, times the unit's columns.
#pragma once

#include <cstdint>

#include "cuda/block_matmul/configurations.hpp"
#include "cuda/block_matmul/copies.cuh"
#include "cuda/tile/multiply.cuh"
#include "cuda/tile/pipeline.cuh"
#include "cuda/tile/sums.cuh"

namespace gatentk::cuda {

template <class T>
struct BlockArguments {
  const T *left, *right;
  T* out;
  std::int64_t out_stride;
  unsigned left_chunks, right_chunks;  // 16 bytes each, between rows
  int n, columns, width;
  const int* lists;  // [units][n + 1], or null
  int block_out;
  const unsigned* left_bits;  // or null
  std::int64_t left_words;    // between rows
  int block_left;
};

// (row, column) of this block's tile. The rows of a column are listed with those that are on first, so half of the row
// tiles are only zeroed: one from the front follows one from the back, and writing shares the time of computing. Eight
// tiles of each kind come down before the next column: those from the front read nearly the same samples whatever their
// unit, so a wave of 132 or 264 blocks reads about as many bytes of the left as of the right factor from memory.
__device__ __forceinline__ int2 listed_tile(unsigned block, int tiles_down, int tiles_across) {
  constexpr unsigned group = 16;
  const unsigned group_blocks = group * static_cast<unsigned>(tiles_across);
  const int first = static_cast<int>(block / group_blocks * group), inside = static_cast<int>(block % group_blocks);
  const int height = min(static_cast<int>(group), tiles_down - first);
  const int row = first + inside % height;
  return make_int2(row % 2 ? tiles_down - 1 - row / 2 : row / 2, inside / height);
}

// The copies of both factors, the right factor's rows behind the left one's in a stage.
template <class Tile>
class GatheredCopies {
 public:
  using T = typename Tile::Element;
  static constexpr bool gated = false;  // gates are in registers when a copy starts
  using Left = RowChunks<Tile, Tile::rows>;
  using Right = RowChunks<Tile, Tile::columns>;

  // `rows`: the samples of the tile, negative where there is none that is on.
  __device__ __forceinline__ GatheredCopies(const BlockArguments<T>& a, Shared<int> rows, int column0)
      : left_(a.left, a.left_chunks, [&](int r) { return max(rows[r], 0); }),
        right_(a.right, a.right_chunks, [&](int r) { return min(column0 + r, a.columns - 1); }),
        gates_((a.width + a.block_left - 1) / a.block_left, a.block_left, a.left_bits != nullptr,
               [&](int i) -> const unsigned* {
                 const int row = rows[Left::first() + i * Left::step];
                 if (row < 0) return nullptr;
                 return a.left_bits ? a.left_bits + row * a.left_words : reinterpret_cast<const unsigned*>(a.left);
               }),
        left_k_(a.width - Left::lane_k()),
        columns_on_(0) {
#pragma unroll
    for (int i = 0; i < Right::count; ++i)
      if (column0 + Right::first() + i * Right::step < a.columns) columns_on_ |= 1u << i;
    tiles_ = (a.width + Tile::depth - 1) / Tile::depth;
  }

  __device__ __forceinline__ int tiles() const { return tiles_; }
  __device__ __forceinline__ bool more() const { return copied_ < tiles_; }

  __device__ __forceinline__ void start(Shared<T> stage) {
    const unsigned on = gates_.next();
    const bool inside = left_k_ > 0;
    left_.copy_next(stage, inside ? on : 0u);
    right_.copy_next(right_of(stage), inside ? columns_on_ : 0u);
    left_k_ -= Tile::depth;
    ++copied_;
  }

  static __device__ __forceinline__ Shared<T> right_of(Shared<T> stage) { return stage.from(Tile::rows * Tile::depth); }

 private:
  Left left_;
  Right right_;
  UnitGates<Tile, Left::count> gates_;
  int left_k_;  // of the factors from this lane's chunk of the next tile on
  unsigned columns_on_;
  int tiles_, copied_ = 0;
};

__device__ __forceinline__ void store_pair(float* to, float a, float b) {
  *reinterpret_cast<float2*>(to) = make_float2(a, b);
}
__device__ __forceinline__ void store_pair(double* to, double a, double b) {
  *reinterpret_cast<double2*>(to) = make_double2(a, b);
}
__device__ __forceinline__ void store_pair(Bfloat16* to, float a, float b) {
  __nv_bfloat16 pair[2] = {__float2bfloat16_rn(a), __float2bfloat16_rn(b)};
  *reinterpret_cast<unsigned*>(to) = *reinterpret_cast<const unsigned*>(pair);
}

// Zeros in the tile's columns of samples that are off: eight lanes write 128 bytes.
template <class Tile, class T>
__device__ __forceinline__ void write_zeros(const BlockArguments<T>& a, const int* list, int listed0, int column0) {
  constexpr int lanes = Tile::columns / Tile::chunk < 8 ? Tile::columns / Tile::chunk : 8;
  const int first = static_cast<int>(threadIdx.x) % lanes * Tile::chunk;
  const int end = min(Tile::rows, a.n - listed0);
  for (int r = static_cast<int>(threadIdx.x) / lanes; r < end; r += Tile::threads / lanes) {
    const int row = list ? list[1 + listed0 + r] : listed0 + r;
    T* const out = a.out + row * a.out_stride + column0;
    for (int c = first; c < min(Tile::columns, a.columns - column0); c += lanes * Tile::chunk)
      *reinterpret_cast<float4*>(out + c) = make_float4(0, 0, 0, 0);
  }
}

// The sums of listed rows, zeros in those that are off.
template <class Tile, class T>
__device__ __forceinline__ void write_sums(const BlockArguments<T>& a, const int* list, int listed0, int count,
                                           int column0, Sums<Tile>& sums) {
#pragma unroll
  for (int i = 0; i < Tile::sums_down; ++i) {
    const int listed = listed0 + Sums<Tile>::row(i);
    if (listed < a.n) {
      const int row = list ? list[1 + listed] : listed;
      T* const out = a.out + row * a.out_stride;
      const bool on = listed < count;
#pragma unroll
      for (int j = 0; j < Tile::sums_across; j += 2) {
        const int column = column0 + Sums<Tile>::column(j);
        if (column < a.columns) store_pair(out + column, on ? sums.at(i, j) : 0, on ? sums.at(i, j + 1) : 0);
      }
    }
  }
}

template <int configuration>
using BlockTile = ConfiguredTile<block_matmul_table, configuration>;

template <int configuration>
__global__ void __launch_bounds__(BlockTile<configuration>::threads, block_matmul_table[configuration].resident_80)
    block_matmul_kernel(const BlockArguments<typename BlockTile<configuration>::Element> a, int tiles_down,
                        int tiles_across) {
  using Tile = BlockTile<configuration>;
  using T = typename Tile::Element;
  SharedArena arena;
  const Shared<T> stages = arena.take<T>(Tile::stages * Tile::stage_elements, 128);
  const Shared<int> rows = arena.take<int>(Tile::rows);
  const int2 tile = listed_tile(blockIdx.x, tiles_down, tiles_across);
  const int listed0 = tile.x * Tile::rows, column0 = tile.y * Tile::columns;
  const int* const list =
      a.lists ? a.lists + static_cast<std::int64_t>(column0 / a.block_out) * (std::int64_t{a.n} + 1) : nullptr;
  const int count = list ? list[0] : a.n;
  if (listed0 >= count || a.width == 0) return write_zeros<Tile>(a, list, listed0, column0);

  for (int r = static_cast<int>(threadIdx.x); r < Tile::rows; r += Tile::threads)
    rows[r] = listed0 + r >= count ? -1 : list ? list[1 + listed0 + r] : listed0 + r;
  __syncthreads();
  Sums<Tile> sums;
  sums.clear();
  GatheredCopies<Tile> copies(a, rows, column0);
  const Multiplier<Tile> multiply;
  const auto multiply_all = [&](auto&& flush) {
    run_pipeline<Tile::stages, Tile::stage_elements>(stages, copies, [&](Shared<T> stage, int i) {
      multiply(stage, GatheredCopies<Tile>::right_of(stage), sums);
      const bool last = i + 1 == copies.tiles();
      flush(i, last);
      return !last;
    });
  };
  if constexpr (Tile::flush_tiles == 0) {
    multiply_all([](int, bool) {});
  } else {
    const SharedSums<Tile> totals(arena.take<typename Tile::Sum>(SharedSums<Tile>::elements));
    multiply_all([&](int i, bool last) {
      if (!last && (i + 1) % Tile::flush_tiles == 0) {
        totals.add(sums, 0, i < Tile::flush_tiles);
        sums.clear();
      } else if (last && i >= Tile::flush_tiles) {
#pragma unroll
        for (int e = 0; e < Tile::sums; ++e) sums.flat(e) += totals.at(e);
      }
    });
  }
  write_sums<Tile>(a, list, listed0, count, column0, sums);
}

}  // namespace gatentk::cuda
