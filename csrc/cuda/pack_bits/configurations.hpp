// Blocks of the kernels that pack and transpose bits.
#pragma once

namespace gatentk::cuda {

// Packing: a warp has 32 words of 32 bits.
constexpr int pack_threads = 256;

struct TransposeLayout {
  static constexpr int side = 256;
  static constexpr int words = side / 32;
  // An odd number of words: 32 rows, read or written down a column, lie in different banks.
  static constexpr int pitch = words + 1;
  static constexpr int shared_bytes = 2 * side * pitch * 4;
};
constexpr int transpose_threads = TransposeLayout::side;

}  // namespace gatentk::cuda
