// Builds plans: activation patterns of four rows, and the order in which a masked product visits the columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "cpu/kernel_table.hpp"
#include "cpu/plan.hpp"
#include "cpu/simd.hpp"
#include "gatentk/views.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// pattern[k] of columns k0..k0+columns, k0 a multiple of 8, i0 of 4; `pattern` has room for a multiple of 8.
static inline void patterns_from_gates(const GateView& gates, bool transposed, std::int64_t i0, int rows,
                                       std::int64_t k0, std::int64_t columns, std::uint8_t* pattern) {
  if (transposed) {
    const std::uint8_t* bits = gates.bits + k0 * gates.stride + i0 / 8;
    const int shift = static_cast<int>(i0 % 8), valid = (1 << rows) - 1;
    for (std::int64_t k = 0; k < columns; ++k)
      pattern[k] = static_cast<std::uint8_t>(bits[k * gates.stride] >> shift & valid);
    return;
  }
  for (std::int64_t k = 0; k < columns; k += 8) {
    std::uint64_t word = 0;
    for (int r = 0; r < rows; ++r) word |= spread_bits(gates.bits[(i0 + r) * gates.stride + (k0 + k) / 8]) << r;
    __builtin_memcpy(pattern + k, &word, 8);
  }
}

template <class T>
static inline void patterns_from_zeros(const RowsView<T>& source, std::int64_t i0, int rows, std::int64_t k0,
                                       std::int64_t columns, std::uint8_t* pattern) {
  if (source.transposed) {
    for (std::int64_t k = 0; k < columns; ++k) {
      const T* values = source.at(i0, k0 + k);
      int bits = 0;
      for (int r = 0; r < rows; ++r) bits |= (values[r] != 0) << r;
      pattern[k] = static_cast<std::uint8_t>(bits);
    }
    return;
  }
  for (int r = 0; r < rows; ++r) {
    const T* row = source.at(i0 + r, k0);
    const std::uint8_t bit = static_cast<std::uint8_t>(1 << r);
    if (r == 0)
      for (std::int64_t k = 0; k < columns; ++k) pattern[k] = row[k] != 0 ? bit : 0;
    else
      for (std::int64_t k = 0; k < columns; ++k) pattern[k] |= row[k] != 0 ? bit : 0;
  }
}

// The positions of the ones of a byte, in a word of eight (the rest is zero), and their number.
struct OnePositions {
  std::uint64_t of[256];
  std::uint8_t count[256];

  constexpr OnePositions() : of{}, count{} {
    for (int byte = 0; byte < 256; ++byte)
      for (int bit = 0; bit < 8; ++bit)
        if (byte >> bit & 1) of[byte] |= static_cast<std::uint64_t>(bit) << (8 * count[byte]++);
  }
};
constexpr OnePositions one_positions;

// Columns sorted by pattern; those off for all rows are left out.
struct PatternLists {
  std::uint8_t column[block_columns + 8];  // written eight at a time
  int next[16];                            // where the unvisited columns of a pattern begin
  int left[16];                            // and how many there are
  bool off;                                // whether there is a column that is off for all
  std::uint8_t off_column;

  // Without branches on the patterns, and without counters in memory, whose updates wait for each other: with these,
  // plans took 18% more cycles.
  void sort(const std::uint8_t* pattern, std::int64_t columns) {
    constexpr int words = block_columns / 64;
    static_assert(block_columns % 64 == 0, "a block is whole words");
    std::uint64_t rows[group_rows][words] = {};  // bit k of a row: whether it is on in column k
    for (int o = 0; 8 * o < columns; ++o) {
      std::uint64_t patterns;
      __builtin_memcpy(&patterns, pattern + 8 * o, 8);
      for (int r = 0; r < group_rows; ++r)
        rows[r][o / 8] |= ((patterns >> r & 0x0101010101010101u) * 0x0102040810204080u >> 56) << (o % 8 * 8);
    }
    if (columns % 64)
      for (int r = 0; r < group_rows; ++r) rows[r][columns / 64] &= (std::uint64_t{1} << columns % 64) - 1;
    std::uint8_t* out = column;
    for (int p = 1; p < 16; ++p) {
      next[p] = static_cast<int>(out - column);
      for (int w = 0; w < words; ++w) {
        std::uint64_t match = ~std::uint64_t{0};
        for (int r = 0; r < group_rows; ++r) match &= p >> r & 1 ? rows[r][w] : ~rows[r][w];
        std::uint64_t base = static_cast<std::uint64_t>(64 * w) * 0x0101010101010101u;
#pragma GCC unroll 8
        for (int o = 0; o < 8; ++o, match >>= 8, base += 0x0808080808080808u) {
          const std::uint64_t positions = one_positions.of[match & 255] + base;
          __builtin_memcpy(out, &positions, 8);
          out += one_positions.count[match & 255];
        }
      }
      left[p] = static_cast<int>(out - column) - next[p];
    }
    const std::int64_t on = out - column;
    next[0] = static_cast<int>(on);
    left[0] = static_cast<int>(columns - on);
    off = on < columns;
    off_column = 0;
    if (off)
      while (pattern[off_column]) ++off_column;
  }
};

// Pairs a column of pattern `first` with one of pattern `second` while both last.
static inline int take_pairs(PatternLists& lists, int first, int second, std::uint8_t*& out) {
  const int pairs = lists.left[first] < lists.left[second] ? lists.left[first] : lists.left[second];
  const std::uint8_t* a = lists.column + lists.next[first];
  const std::uint8_t* b = lists.column + lists.next[second];
  for (int i = 0; i < pairs; ++i) {
    *out++ = a[i];
    *out++ = b[i];
  }
  lists.next[first] += pairs;
  lists.next[second] += pairs;
  lists.left[first] -= pairs;
  lists.left[second] -= pairs;
  return pairs;
}

// What the run of row r and its complement can take besides exact complements: pairs of rows, then single rows.
static inline int take_leftovers(PatternLists& lists, int r, std::uint8_t*& out) {
  const int single = 1 << r;
  const bool leads = single < 8;  // run 7 has the single row as its second side
  int pairs = 0;
  for (const int other : {3, 5, 6, 9, 10, 12, 1, 2, 4, 8}) {
    if (other & single || (other < 3 && other < single) || (other == 4 && single == 8)) continue;
    pairs += leads ? take_pairs(lists, single, other, out) : take_pairs(lists, other, single, out);
  }
  return pairs;
}

// Puts the columns of a k-block into the order that PlanBlock describes. Pairs of rows are paired with their
// complements before anything else may use them.
static inline void build_plan(PatternLists lists, PlanBlock& plan) {
  std::uint8_t paired[block_columns];  // runs 3, 5, 6
  std::uint8_t* end_paired = paired;
  int exact[runs] = {};
  for (const int p : {3, 5, 6}) exact[p] = take_pairs(lists, p, all_on - p, end_paired);
  const std::uint8_t* from = paired;
  std::uint8_t* out = plan.index;
  for (int p = 1; p < runs; ++p) {
    if (p == 3 || p == 5 || p == 6) {
      plan.count[p] = static_cast<std::uint16_t>(exact[p]);
      __builtin_memcpy(out, from, static_cast<std::size_t>(2 * exact[p]));
      out += 2 * exact[p];
      from += 2 * exact[p];
      continue;
    }
    const int pairs = take_pairs(lists, p, all_on - p, out);
    plan.count[p] = static_cast<std::uint16_t>(pairs + take_leftovers(lists, p == 7 ? 3 : p / 2, out));
  }
  const std::uint8_t* begin_singles = out;
  for (int p = 1; p < 16; ++p) {
    const std::uint8_t* rest = lists.column + lists.next[p];
    for (int i = 0; i < lists.left[p]; ++i) *out++ = rest[i];
  }
  plan.count[0] = static_cast<std::uint16_t>(out - begin_singles);
}

// Lengths of the runs 1..7 that the groups of a chunk should agree on: the mean number of columns on either side.
struct RunLengths {
  int of[runs];

  RunLengths(const PatternLists* lists, std::int64_t groups) {
    int seen[16] = {};
    for (std::int64_t g = 0; g < groups; ++g)
      for (int p = 0; p < 16; ++p) seen[p] += lists[g].left[p];
    for (int p = 0; p < runs; ++p)
      of[p] = p ? static_cast<int>((seen[p] + seen[all_on - p] + groups) / (2 * groups)) : 0;
  }
};

// The two sides of all runs: columns of pattern p have their places from begin[p] on, as many as their run is long.
struct RunSides {
  std::uint8_t column[2 * block_columns];
  int begin[16], filled[16];

  explicit RunSides(const RunLengths& lengths) {
    int next = 0;
    for (int p = 1; p < all_on; ++p) {
      begin[p] = next;
      filled[p] = 0;
      next += length(lengths, p);
    }
  }

  static int length(const RunLengths& lengths, int p) { return lengths.of[p < runs ? p : all_on - p]; }

  // Moves unvisited columns of pattern `from` to the places of `to`, whose rows include theirs.
  void take(PatternLists& lists, int from, int to, const RunLengths& lengths) {
    const int room = length(lengths, to) - filled[to];
    const int moved = lists.left[from] < room ? lists.left[from] : room;
    for (int i = 0; i < moved; ++i) column[begin[to] + filled[to] + i] = lists.column[lists.next[from] + i];
    filled[to] += moved;
    lists.next[from] += moved;
    lists.left[from] -= moved;
  }
};

// A plan whose runs have the given lengths, or false where that costs more than mispredicted ends of runs: visits
// beyond 1.2 times those of the elements that are on, or no column to fill up with.
static inline bool build_levelled_plan(PatternLists lists, std::int64_t columns, const RunLengths& lengths,
                                       PlanBlock& plan) {
  int elements = 0, pairs = 0;
  for (int p = 1; p < 16; ++p) elements += lists.left[p] * __builtin_popcount(static_cast<unsigned>(p));
  for (int p = 1; p < runs; ++p) pairs += lengths.of[p];
  if (5 * 4 * pairs > 6 * elements + 200 || 2 * pairs > block_columns) return false;
  RunSides sides(lengths);
  for (int p = 1; p < all_on; ++p) sides.take(lists, p, p, lengths);
  for (const int p : {3, 5, 6, 9, 10, 12})
    for (const int q : {7, 11, 13, 14})
      if ((p & q) == p) sides.take(lists, p, q, lengths);
  for (const int p : {1, 2, 4, 8})
    for (const int q : {3, 5, 6, 9, 10, 12, 7, 11, 13, 14})
      if ((p & q) == p) sides.take(lists, p, q, lengths);
  int singles = 0;
  for (int p = 1; p < 16; ++p) singles += lists.left[p];
  const std::int64_t steps = pairs + singles;
  if (5 * 4 * steps > 6 * elements + 200 || steps > columns || 2 * pairs + singles > block_visits) return false;
  std::uint8_t* out = plan.index;
  for (int p = 1; p < runs; ++p) {
    for (const int q : {p, all_on - p}) {
      const int missing = lengths.of[p] - sides.filled[q];
      if (missing > 0 && !lists.off) return false;
      for (int i = 0; i < missing; ++i) sides.column[sides.begin[q] + sides.filled[q] + i] = lists.off_column;
    }
    const std::uint8_t *a = sides.column + sides.begin[p], *b = sides.column + sides.begin[all_on - p];
    for (int i = 0; i < lengths.of[p]; ++i) {
      *out++ = a[i];
      *out++ = b[i];
    }
    plan.count[p] = static_cast<std::uint16_t>(lengths.of[p]);
  }
  for (int p = 1; p < 16; ++p)
    for (int i = 0; i < lists.left[p]; ++i) *out++ = lists.column[lists.next[p] + i];
  plan.count[0] = static_cast<std::uint16_t>(singles);
  return true;
}

// Plans of `groups` groups whose patterns lie block_columns apart.
static inline void plan_patterns(const std::uint8_t* patterns, std::int64_t groups, std::int64_t columns,
                                 PlanBlock* plan, std::int64_t plan_stride) {
  PatternLists lists[chunk_groups];
  for (std::int64_t g = 0; g < groups; ++g) lists[g].sort(patterns + g * block_columns, columns);
  const RunLengths lengths(lists, groups);
  for (std::int64_t g = 0; g < groups; ++g) {
    PlanBlock& block = plan[g * plan_stride];
    block = PlanBlock{};  // what no visit uses is zero: equal gates give equal plans
    if (!build_levelled_plan(lists[g], columns, lengths, block)) build_plan(lists[g], block);
  }
}

static inline int rows_of_group(std::int64_t rows, std::int64_t i0) {
  return static_cast<int>(rows - i0 < group_rows ? rows - i0 : group_rows);
}

static void plan_chunk(const GateView& gates, bool transposed, std::int64_t rows, std::int64_t i0, std::int64_t groups,
                       std::int64_t k0, std::int64_t columns, PlanBlock* plan, std::int64_t plan_stride) {
  std::uint8_t patterns[chunk_groups * block_columns];
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t i = i0 + g * group_rows;
    patterns_from_gates(gates, transposed, i, rows_of_group(rows, i), k0, columns, patterns + g * block_columns);
  }
  plan_patterns(patterns, groups, columns, plan, plan_stride);
}

static PlanKernels plan_kernels() {
  return {plan_chunk};
}

}  // namespace gatentk::cpu::GATENTK_ISA
