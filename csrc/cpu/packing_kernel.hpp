// The packed formats of a product's two sides, and the kernels that pack them: groups of rows in visit order, and
// panels of columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernel_table.hpp"
#include "cpu/plan_kernel.hpp"
#include "cpu/simd.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// Vectors per row of a panel: the micro-tile is 4 x 6 accumulators of 32 registers (AVX-512), 4 x 3 of 16 (all others).
constexpr int panel_vectors = GATENTK_VECTOR_BYTES == 64 ? 6 : 3;

template <class T>
constexpr int panel_columns = panel_vectors * Simd<T>::lanes;

constexpr int panel_row_bytes = panel_vectors * GATENTK_VECTOR_BYTES;

template <bool narrow>
struct OffsetOf {
  using Type = std::uint16_t;
};
template <>
struct OffsetOf<false> {
  using Type = std::uint32_t;
};

// A step of a packed group: two columns of a pair (or one single column, twice) and the values of four rows. Offsets
// are as wide as a value's half, so that nothing is padded.
template <class T>
struct Step {
  static constexpr bool narrow = sizeof(T) == 4 && panel_row_bytes * block_columns <= 65536;
  using Offset = typename OffsetOf<narrow>::Type;
  Offset offset[2];
  T value[group_rows];
};

// Where pack_rows stands in the lists that it reads and writes. Row r of column k is rows[r][k * stride].
template <class T>
struct PackCursor {
  const T* rows[group_rows];
  std::int64_t stride;
  const std::uint8_t* pattern;
  const std::uint8_t* index;
  Step<T>* step;
};

// The values of the rows of `pattern` on the next column. Without gates a row that is off holds a zero already.
template <class T, int pattern, bool gated>
static GATENTK_INLINE typename Step<T>::Offset pack_visit(PackCursor<T>& at, T* value) {
  const int k = *at.index++;
#pragma GCC unroll 4
  for (int r = 0; r < group_rows; ++r)
    if (pattern >> r & 1) *value++ = !gated || (at.pattern[k] >> r & 1) ? at.rows[r][k * at.stride] : T(0);
  return static_cast<typename Step<T>::Offset>(k * panel_row_bytes);
}

template <class T, int pattern, bool gated>
static GATENTK_INLINE void pack_pairs(PackCursor<T>& at, const std::uint16_t* count) {
  for (int i = 0; i < count[pattern]; ++i, ++at.step) {
    at.step->offset[0] = pack_visit<T, pattern, gated>(at, at.step->value);
    at.step->offset[1] = pack_visit<T, all_on - pattern, gated>(at, at.step->value + __builtin_popcount(pattern));
  }
}

// Values in visit order: the product then reads them as one sequential stream.
template <class T, bool gated>
static GATENTK_INLINE void pack_values(PackCursor<T>& at, const std::uint16_t* count) {
  pack_pairs<T, 1, gated>(at, count);
  pack_pairs<T, 2, gated>(at, count);
  pack_pairs<T, 3, gated>(at, count);
  pack_pairs<T, 4, gated>(at, count);
  pack_pairs<T, 5, gated>(at, count);
  pack_pairs<T, 6, gated>(at, count);
  pack_pairs<T, 7, gated>(at, count);
  for (int i = 0; i < count[0]; ++i, ++at.step)
    at.step->offset[0] = at.step->offset[1] = pack_visit<T, all_on, gated>(at, at.step->value);
}

// Whether the visits of a plan that comes from outside stay inside its block of columns and the room of a group.
static inline bool is_within(const PlanBlock& plan, std::int64_t columns) {
  int steps = 0;
  for (const std::uint16_t count : plan.count) steps += count;
  std::uint8_t last = 0;
  for (const std::uint8_t index : plan.index) last = last < index ? index : last;
  return steps <= columns && 2 * steps - plan.count[0] <= block_visits && last < columns;
}

template <class T>
static void pack_group(const RowsView<T>& source, std::int64_t i0, std::int64_t k0, const std::uint8_t* pattern,
                       const PlanBlock& plan, std::byte* out) {
  const int rows = rows_of_group(source.rows, i0);
  __builtin_memcpy(out, plan.count, sizeof plan.count);
  PackCursor<T> at{
      {}, source.transposed ? source.stride : 1, pattern, plan.index, reinterpret_cast<Step<T>*>(out + visits_at)};
  // A partial group borrows its first row's values for the missing rows; only gated packing then masks them.
  for (int r = 0; r < group_rows; ++r) at.rows[r] = source.at(i0 + (r < rows ? r : 0), k0);
  if (source.gates.bits || rows < group_rows)
    pack_values<T, true>(at, plan.count);
  else
    pack_values<T, false>(at, plan.count);
}

template <class T>
static bool pack_rows(const RowsView<T>& source, std::int64_t i0, std::int64_t groups, std::int64_t k0,
                      std::int64_t columns, const PlanBlock* plan, std::int64_t plan_stride,
                      const PackedChunk& packed) {
  std::uint8_t patterns[chunk_groups * block_columns];
  PlanBlock own[chunk_groups];
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t i = i0 + g * group_rows;
    const int rows = rows_of_group(source.rows, i);
    if (source.gates.bits)
      patterns_from_gates(source.gates, source.transposed, i, rows, k0, columns, patterns + g * block_columns);
    else
      patterns_from_zeros(source, i, rows, k0, columns, patterns + g * block_columns);
  }
  if (!plan) plan_patterns(patterns, groups, columns, own, 1);
  for (std::int64_t g = 0; g < groups; ++g) {
    const PlanBlock& block = plan ? plan[g * plan_stride] : own[g];
    if (plan && !is_within(block, columns)) return false;
    pack_group(source, i0 + g * group_rows, k0, patterns + g * block_columns, block, packed.first + g * packed.stride);
  }
  return true;
}

// Lanes of `count` consecutive gates from bit `first` on, all ones where a gate is on.
template <class T>
static GATENTK_INLINE IntegerVector<T> gate_lanes(const std::uint8_t* bits, std::int64_t first) {
  typename Simd<T>::Integer word = bits[first / 8] >> (first % 8);
  if constexpr (Simd<T>::lanes > 8) word |= bits[first / 8 + 1] << 8;
  IntegerVector<T> lanes;
  for (int lane = 0; lane < Simd<T>::lanes; ++lane) lanes[lane] = 1 << lane;
  return (lanes & word) != 0;
}

// The rows of `source` lie side by side already.
template <class T>
static void pack_panel_from_columns(const RowsView<T>& source, std::int64_t j0, std::int64_t k0, std::int64_t columns,
                                    T* panel) {
  constexpr int lanes = Simd<T>::lanes;
  const std::int64_t left = source.rows - j0;
  for (std::int64_t k = 0; k < columns; ++k) {
    const T* from = source.at(j0, k0 + k);
    const std::uint8_t* bits = source.gates.bits ? source.gates.bits + (k0 + k) * source.gates.stride : nullptr;
    for (int v = 0; v < panel_vectors; ++v, panel += lanes) {
      Vector<T> values{};
      if ((v + 1) * lanes <= left)
        values = load(from + v * lanes);
      else
        for (int lane = 0; lane < lanes && v * lanes + lane < left; ++lane) values[lane] = from[v * lanes + lane];
      if (bits && v * lanes < left)
        values = (Vector<T>)((IntegerVector<T>)values & gate_lanes<T>(bits, j0 + v * lanes));
      store(panel, values);
    }
  }
}

// One row of `source` into every panel_columns-th element.
template <class T>
static void pack_panel_row(const T* row, const GateView& gates, std::int64_t j, std::int64_t k0, std::int64_t columns,
                           T* out) {
  constexpr int width = panel_columns<T>;
  if (!gates.bits) {
    for (std::int64_t k = 0; k < columns; ++k) out[k * width] = row[k];
    return;
  }
  const std::uint8_t* bits = gates.bits + j * gates.stride;
  for (std::int64_t k = 0; k < columns; ++k) out[k * width] = bits[(k0 + k) / 8] >> ((k0 + k) % 8) & 1 ? row[k] : T(0);
}

template <class T>
static void pack_panel(const RowsView<T>& source, std::int64_t j0, std::int64_t k0, std::int64_t columns, T* panel) {
  if (source.transposed) return pack_panel_from_columns(source, j0, k0, columns, panel);
  constexpr int width = panel_columns<T>, lanes = Simd<T>::lanes;
  for (int v = 0; v < panel_vectors; ++v) {
    const std::int64_t first = j0 + v * lanes;
    std::int64_t k = 0;
    if (first + lanes <= source.rows)
      for (; k + lanes <= columns; k += lanes) {
        Vector<T> square[lanes];
#pragma GCC unroll 16
        for (int r = 0; r < lanes; ++r) {
          square[r] = load(source.at(first + r, k0 + k));
          if (source.gates.bits)
            square[r] = (Vector<T>)((IntegerVector<T>)square[r] &
                                    gate_lanes<T>(source.gates.bits + (first + r) * source.gates.stride, k0 + k));
        }
        transpose<T>(square);
#pragma GCC unroll 16
        for (int r = 0; r < lanes; ++r) store(panel + (k + r) * width + v * lanes, square[r]);
      }
    for (int r = 0; r < lanes; ++r) {
      T* out = panel + k * width + v * lanes + r;
      if (first + r < source.rows)
        pack_panel_row(source.at(first + r, k0 + k), source.gates, first + r, k0 + k, columns - k, out);
      else
        for (std::int64_t rest = k; rest < columns; ++rest) out[(rest - k) * width] = 0;
    }
  }
}

}  // namespace gatentk::cpu::GATENTK_ISA
