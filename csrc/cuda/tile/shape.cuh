// The shape of a block's work, and how its tiles lie in shared memory.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/device/bfloat16.hpp"
#include "cuda/device/language.cuh"
#include "cuda/tile/configuration.hpp"

namespace gatentk::cuda {

template <Arithmetic arithmetic>
struct ElementOf {
  using Type = float;
};
template <>
struct ElementOf<Arithmetic::f64> {
  using Type = double;
};
template <>
struct ElementOf<Arithmetic::bf16> {
  using Type = Bfloat16;
};

// How a tile of a factor lies in shared memory. k_inner: a row of the factor, k along it, after the other. k_outer: a k
// after the other, the factor's rows along it: what a factor that is stored transposed gives in copies of 16 bytes.
enum class Layout { k_inner, k_outer };

// The shape of a block's work. `Element` may be double for Arithmetic::fma too, which takes k_inner only.
template <Arithmetic arithmetic_, class Element_, int rows_, int columns_, int warps_down_, int warps_across_,
          int stages_, Layout left_ = Layout::k_inner, Layout right_ = Layout::k_inner>
struct Tile {
  using Element = Element_;
  using Sum = std::conditional_t<std::is_same_v<Element, double>, double, float>;
  static constexpr Arithmetic arithmetic = arithmetic_;
  static constexpr int rows = rows_, columns = columns_, warps_down = warps_down_, warps_across = warps_across_;
  static constexpr int stages = stages_;
  static constexpr Layout left_layout = left_, right_layout = right_;
  static constexpr int warps = warps_down * warps_across, threads = 32 * warps;
  static constexpr int depth = tile_row_bytes / static_cast<int>(sizeof(Element));  // along k
  static constexpr int chunk = 16 / static_cast<int>(sizeof(Element));              // elements in 16 bytes
  static constexpr int stage_elements = (rows + columns) * depth;
  // Tiles after which running sums are added to a second set: one chain of additions over all k is less accurate than
  // torch's sums. tf32x3 makes one addition of 16 k. 0: never, where the rounding of the elements outweighs all others.
  static constexpr int flush_tiles = arithmetic == Arithmetic::tf32 || arithmetic == Arithmetic::bf16 ? 0
                                     : arithmetic == Arithmetic::tf32x3                               ? 512 / depth
                                                                                                      : 128 / depth;

  // A thread's sums: sums_down x sums_across.
  static constexpr bool tensor = arithmetic != Arithmetic::fma;
  static constexpr int product_rows = !tensor ? 1 : arithmetic == Arithmetic::f64 ? 8 : 16;  // of one instruction
  static constexpr int product_columns = tensor ? 8 : 1;
  static constexpr int products_down = rows / warps_down / (tensor ? product_rows : 4);
  static constexpr int products_across = columns / warps_across / 8;
  static constexpr int product_sums = tensor ? product_rows * product_columns / 32 : 1;
  static constexpr int sums_down = products_down * (product_sums == 4 ? 2 : 1);
  static constexpr int sums_across = products_across * (tensor ? 2 : 1);
  static constexpr int sums = sums_down * sums_across;

  // Neighbouring rows (columns) that one load gives a thread where k is outer: two of doubles, and two rows of floats.
  static constexpr int row_run = left_layout == Layout::k_outer && sizeof(Element) > 2 ? 2 : 1;
  static constexpr int column_run = right_layout == Layout::k_outer && sizeof(Element) == 8 ? 2 : 1;
  static_assert(tensor || (left_layout == Layout::k_inner && right_layout == Layout::k_inner));
};

// The tile of a row of a table of configurations.
template <const auto& table, int index, Layout left = Layout::k_inner, Layout right = Layout::k_inner>
struct ConfiguredTile
    : Tile<table[index].arithmetic, typename ElementOf<table[index].arithmetic>::Type, table[index].rows,
           table[index].columns, table[index].warps_down, table[index].warps_across, table[index].stages, left, right> {
};

// Every row of a tile starts at bank 0, so its eight 16-byte chunks are permuted: chunk c of row r lies at position
// c ^ swizzle(r). Eight consecutive rows then have a chunk c in eight different places (a matrix load touches all 32
// banks once), and as the bits are reversed, so have two consecutive rows their chunks c..c+3 (the 8 lanes x 16 bytes
// that f64 reads at once).
__device__ __forceinline__ int swizzle(int row) {
  return (row & 1) << 2 | (row & 2) | (row >> 2 & 1);
}

template <class Tile>
__device__ __forceinline__ int tile_index(int row, int k) {
  return row * Tile::depth + (k / Tile::chunk ^ swizzle(row)) * Tile::chunk + k % Tile::chunk;
}

// k_outer: the chunks of a k, within 128 bytes, are permuted so that a warp's loads of fragments touch every bank as
// often as they must: chunk c of k lies at c ^ outer_swizzle(k).
//   2 bytes: a matrix load takes chunk c of k = 0..7, which lie 128 bytes or a multiple apart: c ^ k is another one for
//            each. With 64 bytes to a k, two of them share the banks: four places for k / 2.
//   4 bytes: lanes that are served at once take chunks c, c + 1 (c even) of k = 0..3: pairs c ^ 2 k.
//   8 bytes: the same of k = 0, 2, 4, 6 or of 1, 3, 5, 7: pairs c ^ 2 (k / 2).
// Copies write whole chunks along a k, eight lanes 128 bytes. Rows k and k + 8 have the same permutation.
template <class Tile, int side>
__device__ __forceinline__ constexpr int outer_swizzle(int k) {
  if constexpr (Tile::chunk == 8) return side >= 64 ? k & 7 : k >> 1 & 3;
  return (Tile::chunk == 4 ? k & 3 : k >> 1 & 3) * 2;
}

// Place of element (k, row) of a factor of `side` rows in its part of a stage.
template <class Tile, int side>
__device__ __forceinline__ int outer_index(int k, int row) {
  static_assert(side * static_cast<int>(sizeof(typename Tile::Element)) >= (Tile::chunk == 8 ? 64 : 128));
  return k * side + (row / Tile::chunk ^ outer_swizzle<Tile, side>(k)) * Tile::chunk + row % Tile::chunk;
}

}  // namespace gatentk::cuda
