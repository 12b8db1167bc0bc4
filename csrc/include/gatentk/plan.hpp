// The plan of a masked product: which columns to visit for each group of four rows, sorted by activation pattern.
#pragma once

#include <cstdint>

namespace gatentk {

constexpr int group_rows = 4;       // rows that share one visit of a column
constexpr int block_columns = 256;  // columns of a k-block: an index fits one byte, a panel of B fits L1
constexpr int all_on = 15;          // the pattern of a column on which all four rows are on

// Visits of one group of rows in one k-block. Bit r of a pattern says that row r is on; count[p] columns have
// pattern p. Order of `index`: for p = 1..7 the columns of p and of its complement 15 - p in turn while both last,
// then the rest of the longer list; at the end those of pattern 15. A complementary pair is four fused
// multiply-adds per vector on four different rows: enough independent chains to hide the latency of the FMA.
struct PlanBlock {
  std::uint16_t count[16];
  std::uint8_t index[block_columns];
};

}  // namespace gatentk
