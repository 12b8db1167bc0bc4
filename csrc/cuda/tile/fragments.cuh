// Parts of a stage's tiles as the tensor cores' products take them: a warp's fragments of one factor.
#pragma once

#include "cuda/device/lanes.cuh"
#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/tile/shape.cuh"

namespace gatentk::cuda {

// Which factor: the left one's rows are rows of the result, the right one's are its columns.
enum class Side { left, right };

// Fragments of a factor, one for `fragment_rows` of its rows in the warp's part of a tile. A step of a product takes
// two 16-byte chunks along k: 16 k of bfloat16, 8 of floats.
template <class Tile, Side side>
class WarpPart {
 public:
  using T = typename Tile::Element;
  static constexpr bool is_left = side == Side::left;
  static constexpr Layout layout = is_left ? Tile::left_layout : Tile::right_layout;
  static constexpr int extent = is_left ? Tile::rows : Tile::columns;
  static constexpr int fragment_rows = is_left ? Tile::product_rows : 8;
  static constexpr int part_rows = extent / (is_left ? Tile::warps_down : Tile::warps_across);
  static constexpr int count = part_rows / fragment_rows;
  static constexpr int run = is_left ? Tile::row_run : Tile::column_run;
  static constexpr int steps = 4;  // of a tile

 protected:
  // First row of the warp's part.
  __device__ __forceinline__ static int first_row() {
    return (is_left ? warp_index() / Tile::warps_across : warp_index() % Tile::warps_across) * part_rows;
  }
};

// Of bfloat16 and floats: 4 (left) or 2 registers of a fragment. Matrix loads, for floats as pairs of 16 bits; floats
// with k outer cannot be transposed so.
template <class Tile, Side side>
class Fragments : public WarpPart<Tile, side> {
  using Part = WarpPart<Tile, side>;
  static constexpr bool outer = Part::layout == Layout::k_outer;
  static constexpr bool by_elements = outer && sizeof(typename Tile::Element) == 4;

 public:
  using Part::is_left, Part::extent;
  using typename Part::T;
  static constexpr int words = is_left ? 4 : 2;
  static constexpr int at_once = 16 / Part::fragment_rows;  // fragments that are loaded at once
  static_assert(Part::count % at_once == 0);

  // Matrix loads: lane l gives the address of a row of 16 bytes of matrix l / 8. The four matrices are halves of 16
  // rows and of a step's k; the first two of a left fragment differ in the rows, of two right ones in k.
  __device__ __forceinline__ Fragments() {
    const int lane = lane_index(), within = lane % 8;
    const int row_half = is_left ? lane / 8 % 2 : lane / 16, k_half = is_left ? lane / 16 : lane / 8 % 2;
    if constexpr (by_elements) {
      const int member = lane % 4, row = Part::first_row() + lane / 4 * Part::run;
      at_ = member * extent + row % Tile::chunk;
      chunk_ = row / Tile::chunk ^ outer_swizzle<Tile, extent>(member);
    } else if constexpr (outer) {
      at_ = (k_half * 8 + within) * extent;
      chunk_ = (Part::first_row() / Tile::chunk + row_half) ^ outer_swizzle<Tile, extent>(within);
    } else {
      at_ = (Part::first_row() + row_half * 8 + within) * Tile::depth;
      chunk_ = k_half ^ swizzle(within);
    }
  }

  // The fragments of rows 16 block .. 16 block + 15.
  __device__ __forceinline__ void load(Shared<T> tile, int step, int block, unsigned (*fragments)[words]) const {
    if constexpr (by_elements) {
      load_elements(tile, step, block, fragments);
    } else {
      unsigned r[4];
      if constexpr (outer)
        load_matrix_x4_transposed(r, tile, at_ + step * 16 * extent + (2 * block ^ chunk_) * Tile::chunk);
      else
        load_matrix_x4(r, tile, at_ + block * 16 * Tile::depth + (2 * step ^ chunk_) * Tile::chunk);
#pragma unroll
      for (int e = 0; e < 4; ++e) fragments[e / words][e % words] = r[e];
    }
  }

  // All fragments of a step.
  __device__ __forceinline__ void load_all(Shared<T> tile, int step, unsigned (&fragments)[Part::count][words]) const {
#pragma unroll
    for (int block = 0; block < Part::count / at_once; ++block) load(tile, step, block, fragments + block * at_once);
  }

 private:
  // Lane (group, member) has k = member and member + 4 of a fragment's step. A left fragment's two rows of a k are two
  // neighbouring registers, so here two neighbouring rows: the order of the rows is free. Loads of 16 bytes would need
  // moves between the registers of products, three for each element.
  __device__ __forceinline__ void load_elements(Shared<T> tile, int step, int block,
                                                unsigned (*fragments)[words]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int k = at_ + (8 * step + 4 * half) * extent;
      if constexpr (is_left) {
        const uint2 rows = tile.template load<uint2>(k + (4 * block ^ chunk_) * Tile::chunk);
        fragments[0][2 * half] = rows.x, fragments[0][2 * half + 1] = rows.y;
      } else {
#pragma unroll
        for (int j = 0; j < 2; ++j)
          fragments[j][half] = __float_as_uint(tile[k + (4 * block + 2 * j ^ chunk_) * Tile::chunk]);
      }
    }
  }

  int at_, chunk_;
};

// Of doubles: a fragment is a number for each of the two products of a step. The first product takes the even k of
// eight, the second the odd ones, of both factors: the order of a sum is free.
template <class Tile, Side side>
class DoubleFragments : public WarpPart<Tile, side> {
  using Part = WarpPart<Tile, side>;
  static constexpr bool outer = Part::layout == Layout::k_outer;

 public:
  using Part::extent;
  static constexpr int steps = 2;

  __device__ __forceinline__ DoubleFragments() {
    const int group = lane_index() / 4, member = lane_index() % 4;
    if constexpr (outer) {
      at_ = 2 * member * extent + Part::first_row();
      chunk_ = group ^ outer_swizzle<Tile, extent>(2 * member);
    } else {
      at_ = (Part::first_row() + group) * Tile::depth;
      chunk_ = member ^ swizzle(group);
    }
  }

  // Loads of 16 bytes: two k of a row, or with k outer two rows of a k, which go to two products.
  __device__ __forceinline__ void load_all(Shared<double> tile, int step, double (&fragments)[Part::count][2]) const {
#pragma unroll
    for (int n = 0; n < Part::count; ++n) {
      if constexpr (outer) {
        const double2 run = tile.load<double2>(at_ + (8 * step + n % 2) * extent + n / 2 * 16 + chunk_ * Tile::chunk);
        fragments[n / 2 * 2][n % 2] = run.x, fragments[n / 2 * 2 + 1][n % 2] = run.y;
      } else {
        const double2 run = tile.load<double2>(at_ + n * 8 * Tile::depth + (4 * step ^ chunk_) * Tile::chunk);
        fragments[n][0] = run.x, fragments[n][1] = run.y;
      }
    }
  }

 private:
  int at_, chunk_;
};

}  // namespace gatentk::cuda
