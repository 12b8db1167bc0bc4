// The core of every masked product: tile[4][columns] += rows (masked) times panel, visiting only what is on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gatentk/kernel_table.hpp"
#include "plan_kernel.hpp"
#include "simd.hpp"

namespace gatentk::GATENTK_ISA {

// Vectors per row of a tile: 4 x 6 accumulators of 32 registers (AVX-512), 4 x 3 of 16 (all others).
constexpr int tile_vectors = GATENTK_VECTOR_BYTES == 64 ? 6 : 3;

template <class T>
constexpr int panel_columns = tile_vectors * Simd<T>::lanes;

constexpr int panel_row_bytes = tile_vectors * GATENTK_VECTOR_BYTES;

template <bool fits>
struct OffsetOf {
  using type = std::uint16_t;
};
template <>
struct OffsetOf<false> {
  using type = std::uint32_t;
};
using Offset = OffsetOf<(panel_row_bytes * block_columns <= 65536)>::type;

// The sums of a tile, addressed by constants only: an array, even one whose every loop is unrolled, is kept in
// memory by GCC and written back between runs of visits.
template <class T, int count>
struct Sums : Sums<T, count - 1> {
  Vector<T> last;
};
template <class T>
struct Sums<T, 0> {};

template <class T>
using Accumulators = Sums<T, group_rows * tile_vectors>;

template <int index, class T, int count>
static GATENTK_INLINE Vector<T>& sum_at(Sums<T, count>& sums) {
  return static_cast<Sums<T, index + 1>&>(sums).last;
}

// Calls f(constant<0>), ..., f(constant<count - 1>).
template <int value>
struct Constant {
  static constexpr int index = value;
};
template <int count, class Function>
static GATENTK_INLINE void unrolled(Function&& f) {
  if constexpr (count > 0) {
    unrolled<count - 1>(f);
    f(Constant<count - 1>{});
  }
}

template <class T>
struct Cursor {
  const std::byte* panel;
  const Offset* offset;
  const T* value;
};

// One row of a visit: sums of row r += factor * panel row.
template <class T, int r>
static GATENTK_INLINE void add_row(T factor, Sums<T, tile_vectors>& row, Accumulators<T>& sums) {
  const Vector<T> factors = broadcast(factor);
  unrolled<tile_vectors>([&](auto v) __attribute__((always_inline)) {
    sum_at<r * tile_vectors + v.index>(sums) += factors * sum_at<v.index>(row);
  });
}

// One column: its panel row is loaded once and used by exactly the rows of `pattern`.
template <class T, int pattern>
static GATENTK_INLINE void visit(const std::byte* panel, Offset offset, const T* value, Accumulators<T>& sums) {
  Sums<T, tile_vectors> row;
  unrolled<tile_vectors>([&](auto v) __attribute__((always_inline)) {
    sum_at<v.index>(row) = *reinterpret_cast<const Vector<T>*>(panel + offset + v.index * GATENTK_VECTOR_BYTES);
  });
  if constexpr (pattern & 1) add_row<T, 0>(value[0], row, sums);
  if constexpr (pattern & 2) add_row<T, 1>(value[__builtin_popcount(pattern & 1)], row, sums);
  if constexpr (pattern & 4) add_row<T, 2>(value[__builtin_popcount(pattern & 3)], row, sums);
  if constexpr (pattern & 8) add_row<T, 3>(value[__builtin_popcount(pattern & 7)], row, sums);
}

template <class T, int pattern>
static GATENTK_INLINE void visit_pairs(Cursor<T>& at, const std::uint16_t* count, Accumulators<T>& sums) {
  constexpr int rows_on = __builtin_popcount(pattern);
  const Offset* end = at.offset + 2 * count[pattern];
#pragma GCC unroll 1
  for (; at.offset != end; at.offset += 2, at.value += group_rows) {
    visit<T, pattern>(at.panel, at.offset[0], at.value, sums);
    visit<T, all_on - pattern>(at.panel, at.offset[1], at.value + rows_on, sums);
  }
}

template <class T>
static GATENTK_INLINE void visit_singles(Cursor<T>& at, int visits, Accumulators<T>& sums) {
  const Offset* end = at.offset + visits;
#pragma GCC unroll 1
  for (; at.offset != end; ++at.offset, at.value += group_rows) visit<T, all_on>(at.panel, *at.offset, at.value, sums);
}

// A k-block is summed on its own and then added to the tile: shorter chains of roundings than one running sum.
// Everything down to the accumulators is inlined: once they leave their registers the product is 2.4 times slower.
template <class T>
static void multiply(const T* panel, const PackedBlock& rows, T* tile, bool first) {
  Accumulators<T> sums;
  unrolled<group_rows * tile_vectors>([&](auto v)
                                          __attribute__((always_inline)) { sum_at<v.index>(sums) = Vector<T>{}; });
  Cursor<T> at{reinterpret_cast<const std::byte*>(panel), static_cast<const Offset*>(rows.offsets),
               static_cast<const T*>(rows.values)};
  visit_pairs<T, 1>(at, rows.count, sums);
  visit_pairs<T, 2>(at, rows.count, sums);
  visit_pairs<T, 3>(at, rows.count, sums);
  visit_pairs<T, 4>(at, rows.count, sums);
  visit_pairs<T, 5>(at, rows.count, sums);
  visit_pairs<T, 6>(at, rows.count, sums);
  visit_pairs<T, 7>(at, rows.count, sums);
  visit_singles<T>(at, rows.count[0], sums);
  Vector<T>* out = reinterpret_cast<Vector<T>*>(tile);
  unrolled<group_rows * tile_vectors>([&](auto v) __attribute__((always_inline)) {
    out[v.index] = first ? sum_at<v.index>(sums) : out[v.index] + sum_at<v.index>(sums);
  });
}

// All columns in rising order, one fused multiply-add a step: the rounding of an element depends on nothing else.
template <class T>
static void multiply_ordered(const T* panel, const T* const* rows, std::int64_t columns, T* tile, bool first) {
  Accumulators<T> sums;
  Vector<T>* out = reinterpret_cast<Vector<T>*>(tile);
  unrolled<group_rows * tile_vectors>([&](auto v) __attribute__((always_inline)) {
    sum_at<v.index>(sums) = first ? Vector<T>{} : out[v.index];
  });
  const Vector<T>* from = reinterpret_cast<const Vector<T>*>(panel);
#pragma GCC unroll 1
  for (std::int64_t k = 0; k < columns; ++k, from += tile_vectors) {
    unrolled<group_rows>([&](auto r) __attribute__((always_inline)) {
      const Vector<T> factors = broadcast(rows[r.index][k]);
      unrolled<tile_vectors>([&](auto v) __attribute__((always_inline)) {
        Vector<T>& sum = sum_at<r.index * tile_vectors + v.index>(sums);
        sum = fused_multiply_add(factors, from[v.index], sum);
      });
    });
  }
  unrolled<group_rows * tile_vectors>([&](auto v)
                                          __attribute__((always_inline)) { out[v.index] = sum_at<v.index>(sums); });
}

// Where pack_rows stands in the lists that it writes. Row r of column k is rows[r][k * step].
template <class T>
struct PackCursor {
  const T* rows[group_rows];
  std::int64_t step;
  const std::uint8_t* pattern;
  const std::uint8_t* index;
  Offset* offset;
  T* value;
};

// The values of the rows of `pattern` on the next column. Without gates a row that is off holds a zero already.
template <class T, int pattern, bool gated>
static GATENTK_INLINE void pack_visit(PackCursor<T>& at) {
  const int k = *at.index++;
  *at.offset++ = static_cast<Offset>(k * panel_row_bytes);
#pragma GCC unroll 4
  for (int r = 0; r < group_rows; ++r)
    if (pattern >> r & 1) *at.value++ = !gated || (at.pattern[k] >> r & 1) ? at.rows[r][k * at.step] : T(0);
}

template <class T, int pattern, bool gated>
static GATENTK_INLINE void pack_pairs(PackCursor<T>& at, const std::uint16_t* count) {
  for (int i = 0; i < count[pattern]; ++i) {
    pack_visit<T, pattern, gated>(at);
    pack_visit<T, all_on - pattern, gated>(at);
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
  for (int i = 0; i < count[0]; ++i) pack_visit<T, all_on, gated>(at);
}

template <class T>
static void pack_rows(const RowsView<T>& source, std::int64_t i0, std::int64_t k0, std::int64_t columns,
                      const PlanBlock* plan, std::uint16_t* count, void* offsets, T* values) {
  const int rows = static_cast<int>(source.rows - i0 < group_rows ? source.rows - i0 : group_rows);
  // A partial group borrows its first row's values for the missing rows; only `gated` packing then masks them.
  const bool gated = source.gates.bits || rows < group_rows;
  std::uint8_t pattern[block_columns];
  if (source.gates.bits)
    patterns_from_gates(source.gates, source.transposed, i0, rows, k0, columns, pattern);
  else
    patterns_from_zeros(source, i0, rows, k0, columns, pattern);
  PlanBlock own;
  if (!plan) {
    build_plan(pattern, columns, own);
    plan = &own;
  }
  __builtin_memcpy(count, plan->count, sizeof plan->count);
  PackCursor<T> at{{},          source.transposed ? source.stride : 1, pattern,
                   plan->index, static_cast<Offset*>(offsets),         values};
  for (int r = 0; r < group_rows; ++r) at.rows[r] = source.at(i0 + (r < rows ? r : 0), k0);
  if (gated)
    pack_values<T, true>(at, plan->count);
  else
    pack_values<T, false>(at, plan->count);
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
    for (int v = 0; v < tile_vectors; ++v, panel += lanes) {
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
  for (int v = 0; v < tile_vectors; ++v) {
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

template <class T>
static void multiply_add(const T* a, const T* b, double bias, double* sum, std::int64_t count, bool first) {
  if (first)
    for (std::int64_t i = 0; i < count; ++i) sum[i] = 0;
  if (b)
    for (std::int64_t i = 0; i < count; ++i) sum[i] += (double(a[i]) + bias) * double(b[i]);
  else
    for (std::int64_t i = 0; i < count; ++i) sum[i] += double(a[i]) + bias;
}

template <class T>
static ProductKernels<T> product_kernels() {
  return {panel_columns<T>, sizeof(Offset),      pack_panel<T>,  pack_rows<T>,
          multiply<T>,      multiply_ordered<T>, multiply_add<T>};
}

}  // namespace gatentk::GATENTK_ISA
