// How much of a factor is on: what the choice between ways that skip and dense ones depends on.
#pragma once

#include <cstdint>

#include "gatentk/views.hpp"

namespace gatentk::cpu {

// Bits that are set in the first `bytes` bytes of `rows` rows.
std::int64_t count_bits(const GateView& bits, std::int64_t rows, std::int64_t bytes);

// Blocks of neighbouring values, the first `blocks` of each row, that are not all zeros.
template <class T>
std::int64_t count_blocks_on(const RowsView<T>& values, std::int64_t blocks, std::int64_t block);

}  // namespace gatentk::cpu
