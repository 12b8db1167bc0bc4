// The plan of a masked product: which columns to visit for each group of four rows, sorted by activation pattern.
#pragma once

#include <cstdint>

namespace gatentk {

constexpr int group_rows = 4;  // rows that share one visit of a column
// Columns of a k-block: an index fits one byte and a panel takes 18 KB of L1. Blocks of 256 are 6% faster at best, but
// a running sum over 256 float32 products rounds more than twice as much as torch's product of that width.
constexpr int block_columns = 192;
constexpr int all_on = 15;  // the pattern of a column on which all four rows are on
constexpr int runs = 8;

// Visits of one group of rows in one k-block. Bit r of a pattern says that row r is on.
//
// Columns are visited in pairs: run p = 1..7 holds pairs of a column whose pattern lies in p and one whose pattern
// lies in 15 - p. Most pairs are exact complements; what is left over of the single rows and pairs of rows is matched
// among itself, with zeros for the rows that are off. Run 0, visited last, takes single columns as if all rows were
// on. So every step is a multiply-add on all four rows, which hides the latency of the FMA, and a block has eight
// loop ends instead of fifteen: at 50% density nearly every loop end is mispredicted (8.4 a block, measured).
struct PlanBlock {
  std::uint16_t count[runs];          // pairs of run 1..7; [0]: single columns
  std::uint8_t index[block_columns];  // columns in visit order: runs 1..7, then 0
};

}  // namespace gatentk
