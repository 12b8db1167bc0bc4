// What the kernels of products with gates of blocks are called with.
#pragma once

#include <cstdint>

namespace gatentk::cpu {

// Memory that is needed soon: `rows` rows of `bytes` bytes from `row` on, those whose bit is set or, without bits, all.
struct Ahead {
  const void* first = nullptr;  // row 0
  std::int64_t stride = 0;      // bytes
  std::int64_t row = 0, rows = 0, bytes = 0;
  const std::uint64_t* bits = nullptr;
};

// What the work on a tile asks for on the way, bit by bit.
struct Needs {
  Ahead first, second;
};

// Row ids[i] of `out` += row ids[i] of z times the tile [depth][columns] of a weight.
template <class T>
struct BlockTile {
  const T* z;
  std::int64_t z_stride;
  const T* weight;
  std::int64_t weight_stride;
  std::int64_t depth, columns;  // columns: whole vectors
  T* out;
  std::int64_t out_stride;
};

// Sum over ids of row id of left, transposed, times row id of right: [rows][columns].
template <class T>
struct BlockGradientTile {
  const T* left;
  std::int64_t left_stride;
  const T* right;
  std::int64_t right_stride;
  std::int64_t rows, columns;  // columns: whole vectors
  T* sums;                     // rows `columns` apart
};

// Neighbouring neurons that are all on.
struct Segment {
  std::int64_t first, count;
};

}  // namespace gatentk::cpu
