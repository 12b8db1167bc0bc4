#include "cpu/density.hpp"

#include <algorithm>
#include <bitset>
#include <cstring>

namespace gatentk::cpu {

std::int64_t count_bits(const GateView& bits, std::int64_t rows, std::int64_t bytes) {
  std::size_t count = 0;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t b = 0; b < bytes; b += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bits.bits + i * bits.stride + b,
                  static_cast<std::size_t>(std::min<std::int64_t>(8, bytes - b)));
      count += std::bitset<64>(word).count();
    }
  return static_cast<std::int64_t>(count);
}

template <class T>
std::int64_t count_blocks_on(const RowsView<T>& values, std::int64_t blocks, std::int64_t block) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < values.rows; ++i) {
    const T* row = values.row(i);
    for (std::int64_t u = 0; u < blocks; ++u, row += block)
      count += std::any_of(row, row + block, [](T value) { return value != 0; });
  }
  return count;
}

template std::int64_t count_blocks_on(const RowsView<float>&, std::int64_t, std::int64_t);
template std::int64_t count_blocks_on(const RowsView<double>&, std::int64_t, std::int64_t);

}  // namespace gatentk::cpu
