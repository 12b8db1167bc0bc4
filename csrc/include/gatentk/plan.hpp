// The plan of a masked product: which columns to visit for each group of four rows, sorted by activation pattern.
#pragma once

#include <cstdint>

namespace gatentk {

constexpr int group_rows = 4;  // rows that share one visit of a column
// Columns of a k-block: an index fits one byte and a panel takes 24 KB of L1. Blocks of 128 and 192 gave 61 and 65
// GFLOP/s where 256 gave 69 (float32, n = 4000, width 512, medians of alternating runs).
constexpr int block_columns = 256;
constexpr int all_on = 15;  // the pattern of a column on which all four rows are on
constexpr int runs = 8;

// Visits of one group of rows in one k-block. Bit r of a pattern says that row r is on.
//
// Columns are visited in pairs: run p = 1..7 holds pairs of a column whose pattern lies in p and one whose pattern
// lies in 15 - p. Most pairs are exact complements; what is left over of the single rows and pairs of rows is matched
// among itself, with zeros for the rows that are off. Run 0, visited last, takes single columns as if all rows were
// on. So every step is a multiply-add on all four rows, which hides the latency of the FMA, and a block has eight
// loop ends instead of fifteen: at 50% density each mispredicted end costs as much as four visits.
struct PlanBlock {
  std::uint16_t count[runs];          // pairs of run 1..7; [0]: single columns
  std::uint8_t index[block_columns];  // columns in visit order: runs 1..7, then 0
};

}  // namespace gatentk
