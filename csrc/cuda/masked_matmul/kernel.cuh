// Products of two masked factors: forward, input gradient and weight gradient of gated layers.
#pragma once

#include <cstdint>

#include "cuda/masked_matmul/configurations.hpp"
#include "cuda/tile/order.cuh"
#include "cuda/tile/product.cuh"

namespace gatentk::cuda {

template <class T>
struct MaskedArguments {
  Operand<T> left, right;
  T* out;
  std::int64_t out_stride;
  const std::uint8_t* bits;  // gates of out, or null
  std::int64_t bits_stride;
  bool pairs;  // out is aligned for two elements at once
};

// The gates of 32 outputs from `column` on, which is a multiple of 32.
template <class T>
__device__ __forceinline__ unsigned output_gates(const MaskedArguments<T>& arguments, int row, int column) {
  if (row >= arguments.left.rows || column >= arguments.right.rows) return 0;
  const unsigned valid = low_bits(arguments.right.rows - column);
  if (!arguments.bits) return valid;
  return valid & *reinterpret_cast<const unsigned*>(arguments.bits + row * arguments.bits_stride + column / 8);
}

// Whether any output of the block is on.
template <class Tile, class T>
__device__ __forceinline__ bool any_output(const MaskedArguments<T>& arguments, int row0, int column0) {
  if (!arguments.bits) return true;
  constexpr int words = Tile::columns / 32;
  unsigned any = 0;
  for (int i = static_cast<int>(threadIdx.x); i < Tile::rows * words; i += Tile::threads)
    any |= output_gates(arguments, row0 + i / words, column0 + i % words * 32);
  return __syncthreads_or(any != 0);
}

__device__ __forceinline__ void store(float* to, float value) {
  *to = value;
}
__device__ __forceinline__ void store(double* to, double value) {
  *to = value;
}
__device__ __forceinline__ void store(Bfloat16* to, float value) {
  *reinterpret_cast<__nv_bfloat16*>(to) = __float2bfloat16_rn(value);
}

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

// Writes outputs (row, column) and, of tensor cores' sums, (row, column + 1) where they lie inside; `gates` bit 0 and 1
// switch them.
template <class T, class Sum>
__device__ __forceinline__ void write_one(const MaskedArguments<T>& arguments, T* out, int column, unsigned gates,
                                          Sum value) {
  if (column < arguments.right.rows) store(out + column, gates & 1 ? value : Sum(0));
}
template <class T, class Sum>
__device__ __forceinline__ void write_pair(const MaskedArguments<T>& arguments, T* out, int column, unsigned gates,
                                           Sum first, Sum second) {
  if (arguments.pairs && column + 1 < arguments.right.rows)
    return store_pair(out + column, gates & 1 ? first : Sum(0), gates & 2 ? second : Sum(0));
  write_one(arguments, out, column, gates, first);
  write_one(arguments, out, column + 1, gates >> 1, second);
}

// Writes a block's sums through the gates of the outputs. Tensor cores: four lanes write 32 bytes of a row, eight rows
// at once; fma: eight lanes 32 bytes, four rows.
template <class Tile, class T>
__device__ __forceinline__ void write_outputs(const MaskedArguments<T>& arguments, int row0, int column0,
                                              Sums<Tile>& sums) {
  constexpr int in_word = Tile::tensor ? 8 : 4 / Tile::warps_across;  // sums of a thread that share a word of gates
  constexpr int group = in_word < Tile::sums_across ? in_word : Tile::sums_across;
#pragma unroll
  for (int i = 0; i < Tile::sums_down; ++i) {
    const int row = row0 + Sums<Tile>::row(i);
    if (row < arguments.left.rows) {
      T* const out = arguments.out + row * arguments.out_stride;
#pragma unroll
      for (int j = 0; j < Tile::sums_across; j += group) {
        const unsigned gates = output_gates(arguments, row, (column0 + Sums<Tile>::column(j)) / 32 * 32);
#pragma unroll
        for (int g = j; g < j + group; g += Tile::tensor ? 2 : 1) {
          const int column = column0 + Sums<Tile>::column(g);
          if constexpr (Tile::tensor)
            write_pair(arguments, out, column, gates >> column % 32, sums.at(i, g), sums.at(i, g + 1));
          else
            write_one(arguments, out, column, gates >> column % 32, sums.at(i, g));
        }
      }
    }
  }
}

template <int configuration>
using MaskedTile = ConfiguredTile<masked_matmul_table, configuration>;

template <int configuration>
__global__ void __launch_bounds__(MaskedTile<configuration>::threads, masked_matmul_table[configuration].resident_80)
    masked_matmul_kernel(const MaskedArguments<typename MaskedTile<configuration>::Element> arguments, int tiles_down,
                         int tiles_across) {
  using Tile = MaskedTile<configuration>;
  using T = typename Tile::Element;
  SharedArena arena;
  const Shared<T> stages = arena.take<T>(Tile::stages * Tile::stage_elements, 128);
  const Shared<unsigned> bits = arena.take<unsigned>(max_searched_tiles / 32);
  const int2 tile = grouped_tile(blockIdx.x, tiles_down, tiles_across);
  const int row0 = tile.x * Tile::rows, column0 = tile.y * Tile::columns;

  Sums<Tile> sums;
  sums.clear();
  if (any_output<Tile>(arguments, row0, column0)) {
    if constexpr (Tile::flush_tiles == 0) {
      multiply_tiles<Tile>(arguments.left, row0, arguments.right, column0, stages, bits, sums, [](bool, bool) {});
    } else {
      const SharedSums<Tile> totals(arena.take<typename Tile::Sum>(SharedSums<Tile>::elements));
      multiply_tiles<Tile>(arguments.left, row0, arguments.right, column0, stages, bits, sums,
                           [&](bool first, bool last) {
                             if (!last) {
                               totals.add(sums, 0, first);
                               sums.clear();
                             } else if (!first) {
#pragma unroll
                               for (int e = 0; e < Tile::sums; ++e) sums.flat(e) += totals.at(e);
                             }
                           });
    }
  }
  write_outputs(arguments, row0, column0, sums);
}

}  // namespace gatentk::cuda
