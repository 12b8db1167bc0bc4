// Builds plans: activation patterns of four rows, and the order in which a masked product visits the columns.
#pragma once

#include <cstdint>

#include "gatentk/plan.hpp"
#include "gatentk/views.hpp"
#include "simd.hpp"

namespace gatentk::GATENTK_ISA {

// Each bit of a byte becomes a byte 0 or 1: bit b lands in byte b.
static GATENTK_INLINE std::uint64_t spread_bits(std::uint64_t byte) {
  const std::uint64_t isolated = byte * 0x0101010101010101u & 0x8040201008040201u;
  return (isolated + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u;
}

// pattern[k] of columns k0..k0+columns, k0 a multiple of 8; `pattern` has room for a multiple of 8.
template <class T>
static inline void patterns_from_gates(const RowsView<T>& source, std::int64_t i0, int rows, std::int64_t k0,
                                       std::int64_t columns, std::uint8_t* pattern) {
  for (std::int64_t k = 0; k < columns; k += 8) {
    std::uint64_t word = 0;
    for (int r = 0; r < rows; ++r)
      word |= spread_bits(source.gates[(i0 + r) * source.gate_stride + (k0 + k) / 8]) << r;
    __builtin_memcpy(pattern + k, &word, 8);
  }
}

template <class T>
static inline void patterns_from_zeros(const RowsView<T>& source, std::int64_t i0, int rows, std::int64_t k0,
                                       std::int64_t columns, std::uint8_t* pattern) {
  for (int r = 0; r < rows; ++r) {
    const T* row = source.row(i0 + r) + k0;
    const std::uint8_t bit = static_cast<std::uint8_t>(1 << r);
    if (r == 0)
      for (std::int64_t k = 0; k < columns; ++k) pattern[k] = row[k] != 0 ? bit : 0;
    else
      for (std::int64_t k = 0; k < columns; ++k) pattern[k] |= row[k] != 0 ? bit : 0;
  }
}

// Counting sort of the columns by pattern into the order that PlanBlock describes.
static inline void build_plan(const std::uint8_t* pattern, std::int64_t columns, PlanBlock& plan) {
  std::uint16_t count[16] = {};
  for (std::int64_t k = 0; k < columns; ++k) ++count[pattern[k]];
  // position[p]: where the next column of pattern p goes; steps of two while p and its complement take turns.
  // Columns that are off for all rows are written beyond the end.
  std::uint8_t order[2 * block_columns];
  std::int32_t position[16], paired_end[16];
  std::int32_t start = 0;
  for (int p = 1; p < 8; ++p) {
    const int complement = all_on - p;
    const int both = 2 * (count[p] < count[complement] ? count[p] : count[complement]);
    position[p] = start;
    paired_end[p] = start + both;
    position[complement] = start + (both ? 1 : 0);
    paired_end[complement] = start + both - 1;
    start += count[p] + count[complement];
  }
  position[all_on] = start;
  paired_end[all_on] = 0;
  position[0] = block_columns;
  paired_end[0] = 0;
  for (std::int64_t k = 0; k < columns; ++k) {
    const int p = pattern[k];
    const std::int32_t here = position[p];
    order[here] = static_cast<std::uint8_t>(k);
    position[p] = here + 1 + (here < paired_end[p]);
  }
  __builtin_memcpy(plan.count, count, sizeof count);
  __builtin_memcpy(plan.index, order, block_columns);
}

}  // namespace gatentk::GATENTK_ISA
