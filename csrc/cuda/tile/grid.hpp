// How many tiles cover a matrix.
#pragma once

#include <cstdint>

namespace gatentk::cuda {

constexpr std::int64_t tiles_of(std::int64_t rows, std::int64_t side) {
  return (rows + side - 1) / side;
}

// Square tiles that cover rows x columns; of a symmetric matrix those of one triangle and its diagonal.
constexpr std::int64_t square_tiles(std::int64_t rows, std::int64_t columns, bool symmetric, std::int64_t side) {
  const std::int64_t down = tiles_of(rows, side), across = tiles_of(columns, side);
  return symmetric ? down * (down + 1) / 2 : down * across;
}

}  // namespace gatentk::cuda
