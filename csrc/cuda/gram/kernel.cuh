// Sums of Hadamard products of Gram matrices, the assembly of finite-width tangent kernels.
#pragma once

#include <cstdint>

#include "cuda/gram/configurations.hpp"
#include "cuda/tile/order.cuh"
#include "cuda/tile/product.cuh"

namespace gatentk::cuda {

template <class T>
struct FactorArguments {
  Operand<T> rows, columns;
};

// (A A^T + bias) o (Delta Delta^T): factors act and delta; a delta of width 0 counts as all ones.
template <class T>
struct TermArguments {
  FactorArguments<T> factors[2];
  double bias;
};

// Terms of one launch: they are parameters of the kernel, which take at most 4 KB.
constexpr int max_terms = 16;

template <class T>
struct GramArguments {
  TermArguments<T> terms[max_terms];
  int count;
  int rows, columns;
  bool symmetric;    // columns are the rows: tiles on and above the diagonal are computed
  bool first, last;  // of the launches of one problem: `first` writes out, the others add; `last` mirrors
  T* out;
  std::int64_t out_stride;
};
static_assert(sizeof(GramArguments<double>) <= 4096 - 2 * sizeof(int));

// out += (act + bias) part, for the part of a term's delta that `sums` hold; they become the results. Four lanes read
// and write 32 bytes of a row, eight rows at once.
template <class Tile, class T>
__device__ __forceinline__ void add_to_outputs(const GramArguments<T>& arguments, int row0, int column0,
                                               const SharedSums<Tile>& act, Sums<Tile>& sums, bool first) {
  int row = row0 + Sums<Tile>::row(0);
  const int column = column0 + Sums<Tile>::column(0);
  T* out = arguments.out + row * arguments.out_stride + column;
#pragma unroll
  for (int i = 0; i < Tile::sums_down; ++i) {
    const int begin = arguments.symmetric ? row : 0, end = row < arguments.rows ? arguments.columns : 0;
    T values[Tile::sums_across];
#pragma unroll
    for (int j = 0; j < Tile::sums_across; ++j) {
      const int step = Sums<Tile>::column_offset(j);
      values[j] = 0;
      if (!first && column + step >= begin && column + step < end) values[j] = out[step];
    }
#pragma unroll
    for (int j = 0; j < Tile::sums_across; ++j) {
      const int step = Sums<Tile>::column_offset(j);
      T& sum = sums.at(i, j);
      sum = fused_multiply_add(act.at(Sums<Tile>::flat_index(i, j)), sum, values[j]);
      if (column + step >= begin && column + step < end) out[step] = sum;
    }
    row += Sums<Tile>::row_step;
    out += Sums<Tile>::row_step * arguments.out_stride;
  }
}

// The results below the diagonal: eight lanes write 32 bytes.
template <class Tile, class T>
__device__ __forceinline__ void mirror_outputs(const GramArguments<T>& arguments, int row0, int column0,
                                               Sums<Tile>& sums) {
  const int row = row0 + Sums<Tile>::row(0), column = column0 + Sums<Tile>::column(0);
  T* out = arguments.out + column * arguments.out_stride + row;
#pragma unroll
  for (int j = 0; j < Tile::sums_across; ++j) {
    const int mirrored = column + Sums<Tile>::column_offset(j);
    if (mirrored < arguments.columns) {
#pragma unroll
      for (int i = 0; i < Tile::sums_down; ++i)
        if (row + i * Sums<Tile>::row_step < mirrored) out[i * Sums<Tile>::row_step] = sums.at(i, j);
    }
    if (j + 1 < Tile::sums_across)
      out += (Sums<Tile>::column_offset(j + 1) - Sums<Tile>::column_offset(j)) * arguments.out_stride;
  }
}

template <int configuration>
using GramTile = ConfiguredTile<gram_table, configuration>;

// All terms of a tile of outputs. The first factor's sums wait in shared memory for the second's: beside the running
// sums and the fragments of the second there are no registers for them. So there is no room for a third set, and the
// terms are added up in out: 128 KB of traffic for each term of a tile of floats, against 1 MB that it reads of factors
// 512 wide.
template <int configuration>
__global__ void __launch_bounds__(GramTile<configuration>::threads, gram_table[configuration].resident_80)
    gram_kernel(const GramArguments<typename GramTile<configuration>::Element> arguments, int tiles_down,
                int tiles_across) {
  using Tile = GramTile<configuration>;
  using T = typename Tile::Element;
  SharedArena arena;
  const Shared<T> stages = arena.take<T>(Tile::stages * Tile::stage_elements, 128);
  const SharedSums<Tile> act(arena.take<T>(SharedSums<Tile>::elements));
  const int2 tile = grouped_tile(blockIdx.x, tiles_down, tiles_across);
  const int row0 = tile.x * Tile::rows, column0 = tile.y * Tile::columns;
  if (arguments.symmetric && column0 + Tile::columns <= row0) return;

  Sums<Tile> sums;
#pragma unroll 1
  for (int step = 0; step < 2 * arguments.count; ++step) {
    const TermArguments<T>& term = arguments.terms[step / 2];
    const FactorArguments<T>& factor = term.factors[step % 2];
    sums.clear();
    multiply_tiles<Tile>(factor.rows, row0, factor.columns, column0, stages, sums, [&](bool first, bool last) {
      if (step % 2 == 0) {
        act.add(sums, last ? static_cast<T>(term.bias) : T(0), first);
      } else {
        if (factor.rows.width == 0) sums.fill(1);
        add_to_outputs(arguments, row0, column0, act, sums, first && step == 1 && arguments.first);
        if (last && arguments.last && arguments.symmetric && step + 1 == 2 * arguments.count)
          mirror_outputs(arguments, row0, column0, sums);
      }
      sums.clear();
    });
  }
}

}  // namespace gatentk::cuda
