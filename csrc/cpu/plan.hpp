// The plan of a masked product: which columns to visit for each group of four rows, sorted by activation pattern.
#pragma once

#include <cstdint>

#include "gatentk/views.hpp"

namespace gatentk::cpu {

constexpr int group_rows = 4;  // rows that share one visit of a column
// Columns of a k-block: an index fits one byte and a panel takes 18 KB of L1 (AVX2). Blocks of 256 are up to 4% faster,
// but their running sums of float32 products round up to 3.2 times as much as torch's product of that width.
constexpr int block_columns = 192;
constexpr int block_visits = block_columns + 32;  // room for columns of a block, with some that pad a run
constexpr int chunk_groups = 32;                  // groups in a row whose runs have the same lengths
constexpr int all_on = 15;                        // the pattern of a column on which all four rows are on
constexpr int runs = 8;

// Visits of one group of rows in one k-block. Bit r of a pattern says that row r is on.
//
// Columns are visited in pairs: run p = 1..7 holds pairs of a column whose pattern lies in p and one whose pattern
// lies in 15 - p; rows that are off are multiplied by zeros. Run 0, visited last, takes single columns as if all rows
// were on. So every step is a multiply-add on all four rows, which hides the latency of the FMA.
//
// A mispredicted end of a run costs about as much as 3.5 visits. So the groups of a chunk agree on the length of each
// run where their patterns are alike: shorter lists are filled with columns of fewer rows or, at last, with a column
// that is off for all; what does not fit becomes a single column.
struct PlanBlock {
  std::uint16_t count[runs];         // pairs of run 1..7; [0]: single columns
  std::uint8_t index[block_visits];  // columns in visit order: runs 1..7, then 0
};

// Plan of `rows` x `columns` gates: [groups][blocks].
void build_plan(const GateView& gates, bool transposed, std::int64_t rows, std::int64_t columns, PlanBlock* plan,
                int threads);

}  // namespace gatentk::cpu
