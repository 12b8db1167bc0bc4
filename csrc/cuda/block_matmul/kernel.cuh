// The product of gathered rows: for a unit of outputs the samples that it is on for, times the unit's columns.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/block_matmul/configurations.hpp"
#include "cuda/block_matmul/copies.cuh"
#include "cuda/tile/multiply.cuh"
#include "cuda/tile/store.cuh"
#include "cuda/tile/sums.cuh"

namespace gatentk::cuda {

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

// The copies of both factors, the right factor's part of a stage behind the left one's.
template <class Tile>
class GatheredCopies {
 public:
  using T = typename Tile::Element;
  using Left = ListedRows<Tile>;
  using Right = std::conditional_t<Tile::right_layout == Layout::k_outer, DepthChunks<Tile>, NeighbouringRows<Tile>>;

  __device__ __forceinline__ GatheredCopies(const BlockArguments<T>& a, Shared<int> rows, int column0)
      : left_(a, rows), right_(a, column0), gates_(a, rows), k_left_(a.width) {}

  // Which rows this thread's copies read in the k-tile.
  __device__ __forceinline__ unsigned rows_on() const {
    const unsigned on = gates_.current();
    return Left::lane_k() < k_left_ ? on : 0u;
  }

  // Starts a part of the copies of the k-tile, zeros behind the last one; the last part closes their group. No
  // branches.
  __device__ __forceinline__ void copy_part(Shared<T> stage, unsigned rows_on, int part, int parts) const {
    left_.copy_part(stage, rows_on, part, parts);
    right_.copy_part(right_of(stage), k_left_, part, parts);
    if (part + 1 == parts) commit_copies();
  }

  // To the next k-tile.
  __device__ __forceinline__ void advance() {
    k_left_ -= Tile::depth;
    left_.advance();
    right_.advance();
    gates_.advance();
  }

  static __device__ __forceinline__ Shared<T> right_of(Shared<T> stage) { return stage.from(Tile::rows * Tile::depth); }

 private:
  Left left_;
  Right right_;
  UnitGates<Tile> gates_;
  int k_left_;  // of the factors from the tile on
};

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

// Adds the products of all k-tiles to `sums`; calls flush(i) after tile i but the last. `stages` holds the
// configuration's stages: while one is multiplied the copies of the next ones are under way.
//
// A turn is straight code from its barrier to the flush, with copies between products: after a barrier all warps would
// otherwise copy at the same time, and none would multiply.
template <class Tile, class Flush>
__device__ __forceinline__ void multiply_gathered(GatheredCopies<Tile>& copies, int width,
                                                  Shared<typename Tile::Element> stages, Sums<Tile>& sums,
                                                  Flush&& flush) {
  constexpr int size = Tile::stage_elements;
#pragma unroll 1
  for (int s = 0; s + 1 < Tile::stages; ++s)
    copies.copy_part(stages.from(s * size), copies.rows_on(), 0, 1), copies.advance();
  const Multiplier<Tile> multiply;
  int use = 0, fill = Tile::stages - 1;
#pragma unroll 1
  for (int i = 0;; ++i) {
    wait_copies<Tile::stages - 2>();
    __syncthreads();  // tile i is complete, and all warps are done with the stage that is filled next
    const auto stage = stages.from(use * size);
    const auto filled = stages.from(fill * size);
    const unsigned on = copies.rows_on();
    multiply(stage, copies.right_of(stage), sums,
             [&](int part, int parts) { copies.copy_part(filled, on, part, parts); });
    fill = use;
    use = use + 1 == Tile::stages ? 0 : use + 1;
    if ((i + 1) * Tile::depth >= width) break;
    copies.advance();
    flush(i);
  }
  wait_copies<0>();
}

// A tile's samples: those that are on as they are, those that are off with all bits inverted, and where there is none:
constexpr int no_sample = static_cast<int>(0x80000000u);

template <class Tile>
__device__ __forceinline__ void list_samples(Shared<int> rows, const int* list, int listed0, int count, int n) {
  for (int r = static_cast<int>(threadIdx.x); r < Tile::rows; r += Tile::threads) {
    const int listed = listed0 + r;
    int row = no_sample;
    if (listed < n) row = list ? list[1 + listed] : listed;
    rows[r] = listed < count || row == no_sample ? row : ~row;
  }
}

// Row i of this thread's sums, to `out`, a row of the result. Four lanes write 32 bytes or more of a row at once.
template <class Tile, class T>
__device__ __forceinline__ void write_row(T* out, int columns, int column0, bool on, Sums<Tile>& sums, int i) {
#pragma unroll
  for (int j = 0; j < Tile::sums_across; j += 2) {
    const int column = column0 + Sums<Tile>::column(j);
    if (column < columns) store_pair(out + column, on ? sums.at(i, j) : 0, on ? sums.at(i, j + 1) : 0);
  }
}

// Four bfloat16 each, for which lanes exchange pairs of two products: the even ones have four columns of the first
// then, the odd ones of the second. All lanes take part, without a row they write nothing.
template <class Tile>
__device__ __forceinline__ void write_row(Bfloat16* out, int columns, int column0, bool on, Sums<Tile>& sums, int i) {
  static_assert(Sums<Tile>::column_group == 2 && Tile::sums_across % 4 == 0);
  const bool odd = lane_index() % 2 != 0;
#pragma unroll
  for (int j = 0; j < Tile::sums_across; j += 4) {
    const unsigned first = on ? bfloat16_pair(sums.at(i, j), sums.at(i, j + 1)) : 0u;
    const unsigned second = on ? bfloat16_pair(sums.at(i, j + 2), sums.at(i, j + 3)) : 0u;
    const unsigned others = __shfl_xor_sync(all_lanes, odd ? first : second, 1);
    const int column = column0 + Sums<Tile>::column(j) + (odd ? 6 : 0);
    if (out && column < columns)
      *reinterpret_cast<uint2*>(out + column) = odd ? make_uint2(others, second) : make_uint2(first, others);
  }
}

// The sums of samples that are on, zeros of those that are off.
template <class Tile, class T>
__device__ __forceinline__ void write_sums(const BlockArguments<T>& a, Shared<int> rows, int column0,
                                           Sums<Tile>& sums) {
#pragma unroll
  for (int i = 0; i < Tile::sums_down; ++i) {
    const int row = rows[Sums<Tile>::row(i)];
    T* const out = row == no_sample ? nullptr : a.out + (row < 0 ? ~row : row) * a.out_stride;
    if (out || sizeof(T) == 2) write_row<Tile>(out, a.columns, column0, row >= 0, sums, i);
  }
}

template <int configuration, Layout right>
using BlockTile = ConfiguredTile<block_matmul_table, configuration, Layout::k_inner, right>;

template <int configuration, Layout right>
__global__ void __launch_bounds__(BlockTile<configuration, right>::threads,
                                  block_matmul_table[configuration].resident_80)
    block_matmul_kernel(const BlockArguments<typename BlockTile<configuration, right>::Element> a, int tiles_down,
                        int tiles_across) {
  using Tile = BlockTile<configuration, right>;
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

  list_samples<Tile>(rows, list, listed0, count, a.n);
  __syncthreads();
  Sums<Tile> sums;
  sums.clear();
  GatheredCopies<Tile> copies(a, rows, column0);
  if constexpr (Tile::flush_tiles == 0) {
    multiply_gathered(copies, a.width, stages, sums, [](int) {});
  } else {
    const SharedSums<Tile> totals(arena.take<typename Tile::Sum>(SharedSums<Tile>::elements));
    multiply_gathered(copies, a.width, stages, sums, [&](int i) {
      if ((i + 1) % Tile::flush_tiles != 0) return;
      totals.add(sums, 0, i < Tile::flush_tiles);
      sums.clear();
    });
    if (a.width > Tile::flush_tiles * Tile::depth)
#pragma unroll
      for (int e = 0; e < Tile::sums; ++e) sums.flat(e) += totals.at(e);
  }
  // Found anew: in the main loop the registers are full.
  write_sums<Tile>(a, rows, listed_tile(blockIdx.x, tiles_down, tiles_across).y * Tile::columns, sums);
}

}  // namespace gatentk::cuda
