// Kernels of weight gradients with gates of blocks of neurons: a tile of the gradient is a sum over a list of samples.
#pragma once

#include "cpu/blocks_kernel.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// Rows of a micro-tile: one address leads to all of them, so that only registers of sums are counted.
constexpr int gradient_rows_of(int vectors) {
  return vectors == 1 && GATENTK_VECTOR_BYTES == 64 ? 16 : tile_rows_of(vectors);
}

// Samples that are summed in one go: both factors of a tile lie in L1, and chains of roundings are short.
constexpr std::int64_t longest_sum = 160;

template <class T, int rows, int vectors>
static GATENTK_INLINE void add_micro_tile(const BlockGradientTile<T>& tile, const std::int32_t* ids, std::int64_t count,
                                          std::int64_t row, std::int64_t column) {
  constexpr int lanes = Simd<T>::lanes;
  Sums<T, rows * vectors> sums;
  unrolled<rows * vectors>([&](auto v) __attribute__((always_inline)) { sum_at<v.index>(sums) = Vector<T>{}; });
  const T *left = tile.left + row, *right = tile.right + column;
  const std::int64_t left_stride = tile.left_stride, right_stride = tile.right_stride;
  const std::int32_t* end = ids + count;
#pragma GCC unroll 2
  for (; ids != end; ++ids) {
    const T *a = left + *ids * left_stride, *b = right + *ids * right_stride;
    Sums<T, vectors> values;
    unrolled<vectors>([&](auto v)
                          __attribute__((always_inline)) { sum_at<v.index>(values) = load(b + v.index * lanes); });
    unrolled<rows>([&](auto r) __attribute__((always_inline)) {
      const Vector<T> factor = broadcast(a[r.index]);
      unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
        sum_at<r.index * vectors + v.index>(sums) += factor * sum_at<v.index>(values);
      });
    });
  }
  T* out = tile.sums + row * tile.columns + column;
  unrolled<rows * vectors>([&](auto v) __attribute__((always_inline)) {
    T* to = out + v.index / vectors * tile.columns + v.index % vectors * lanes;
    store(to, load(to) + sum_at<v.index>(sums));
  });
}

template <class T, int vectors>
static void add_rows(const BlockGradientTile<T>& tile, const std::int32_t* ids, std::int64_t count, std::int64_t row,
                     std::int64_t rows, std::int64_t column) {
  constexpr int most = gradient_rows_of(vectors);
  switch (rows) {
    case 1:
      return add_micro_tile<T, 1, vectors>(tile, ids, count, row, column);
    case 2:
      return add_micro_tile<T, 2, vectors>(tile, ids, count, row, column);
    case 3:
      return add_micro_tile<T, 3, vectors>(tile, ids, count, row, column);
    case 4:
      return add_micro_tile<T, 4, vectors>(tile, ids, count, row, column);
    case 5:
      return add_micro_tile<T, 5, vectors>(tile, ids, count, row, column);
    case 6:
      return add_micro_tile<T, 6, vectors>(tile, ids, count, row, column);
    default:
      break;
  }
  if constexpr (most > 6) {
    if (rows == 7) return add_micro_tile<T, 7, vectors>(tile, ids, count, row, column);
    if (rows == 8) return add_micro_tile<T, 8, vectors>(tile, ids, count, row, column);
  }
  if constexpr (most == 16) add_micro_tile<T, 16, vectors>(tile, ids, count, row, column);
}

template <class T, int vectors>
static void add_columns(const BlockGradientTile<T>& tile, const std::int32_t* ids, std::int64_t count,
                        std::int64_t column, Fetch& fetch) {
  constexpr int most = gradient_rows_of(vectors), usual = most == 16 ? 8 : most;
  std::int64_t row = 0;
  if constexpr (most == 16)
    for (; row + 16 <= tile.rows; row += 16) {
      fetch.next();
      add_rows<T, vectors>(tile, ids, count, row, 16, column);
    }
  const std::int64_t left = tile.rows - row, groups = (left + usual - 1) / usual;
  for (std::int64_t group = 0; group < groups; ++group) {
    const std::int64_t rows = left / groups + (group < left % groups);
    fetch.next();
    add_rows<T, vectors>(tile, ids, count, row, rows, column);
    row += rows;
  }
}

template <class T>
static void add_products(const BlockGradientTile<T>& tile, const std::int32_t* ids, std::int64_t count,
                         const Needs& needs) {
  constexpr int lanes = Simd<T>::lanes;
  const std::int64_t vectors = tile.columns / lanes;
  const std::int64_t groups = (tile.rows + gradient_rows_of(1) - 1) / gradient_rows_of(1);
  const std::int64_t sums = (count + longest_sum - 1) / longest_sum;
  Fetch fetch(needs, sums * groups * ((vectors + widest_tile - 1) / widest_tile));
  for (std::int64_t sum = 0, first = 0, some = 0; sum < sums; ++sum, first += some) {
    some = count / sums + (sum < count % sums);
    std::int64_t v = 0;
    for (; v + widest_tile <= vectors; v += widest_tile)
      add_columns<T, widest_tile>(tile, ids + first, some, v * lanes, fetch);
    if constexpr (widest_tile == 4) {
      if (vectors - v == 3) add_columns<T, 3>(tile, ids + first, some, v * lanes, fetch);
      if (vectors - v == 2) add_columns<T, 2>(tile, ids + first, some, v * lanes, fetch);
    }
    if (vectors - v == 1) add_columns<T, 1>(tile, ids + first, some, v * lanes, fetch);
  }
}

template <class T>
static BlockKernels<T> block_kernels() {
  return {Simd<T>::lanes, pack_tile<T>, multiply_tile<T>, dot_segments<T>, add_products<T>, list_common};
}

}  // namespace gatentk::cpu::GATENTK_ISA
