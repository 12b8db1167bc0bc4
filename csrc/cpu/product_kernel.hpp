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

template <class T>
using Accumulators = Vector<T>[group_rows][tile_vectors];

template <class T>
struct Cursor {
  const std::byte* panel;
  const Offset* offset;
  const T* value;
};

// One column: its panel row is loaded once and used by exactly the rows of `pattern`.
template <class T, int pattern>
static GATENTK_INLINE void visit(const std::byte* panel, Offset offset, const T* value, Accumulators<T>& sums) {
  Vector<T> row[tile_vectors];
#pragma GCC unroll 8
  for (int v = 0; v < tile_vectors; ++v)
    row[v] = *reinterpret_cast<const Vector<T>*>(panel + offset + v * GATENTK_VECTOR_BYTES);
  int used = 0;
#pragma GCC unroll 4
  for (int r = 0; r < group_rows; ++r)
    if (pattern >> r & 1) {
      const Vector<T> factor = broadcast(value[used++]);
#pragma GCC unroll 8
      for (int v = 0; v < tile_vectors; ++v) sums[r][v] += factor * row[v];
    }
}

template <class T, int pattern>
static GATENTK_INLINE void visit_run(Cursor<T>& at, int visits, Accumulators<T>& sums) {
  constexpr int rows_on = __builtin_popcount(pattern);
  const Offset* end = at.offset + visits;
#pragma GCC unroll 1
  for (; at.offset != end; ++at.offset, at.value += rows_on)
    visit<T, pattern>(at.panel, *at.offset, at.value, sums);
}

template <class T, int pattern>
static GATENTK_INLINE void visit_pairs(Cursor<T>& at, int pairs, Accumulators<T>& sums) {
  constexpr int rows_on = __builtin_popcount(pattern);
  const Offset* end = at.offset + 2 * pairs;
#pragma GCC unroll 1
  for (; at.offset != end; at.offset += 2, at.value += group_rows) {
    visit<T, pattern>(at.panel, at.offset[0], at.value, sums);
    visit<T, all_on - pattern>(at.panel, at.offset[1], at.value + rows_on, sums);
  }
}

template <class T, int pattern>
static GATENTK_INLINE void visit_complements(Cursor<T>& at, const std::uint16_t* count, Accumulators<T>& sums) {
  const int here = count[pattern], there = count[all_on - pattern];
  const int both = here < there ? here : there;
  visit_pairs<T, pattern>(at, both, sums);
  visit_run<T, pattern>(at, here - both, sums);
  visit_run<T, all_on - pattern>(at, there - both, sums);
}

// Everything down to the accumulators is inlined: once they leave their registers the product is 2.4 times slower.
template <class T>
static void multiply(const T* panel, const PackedBlock& rows, T* tile, bool first) {
  Accumulators<T> sums;
  Vector<T>* out = reinterpret_cast<Vector<T>*>(tile);
  for (int r = 0; r < group_rows; ++r)
    for (int v = 0; v < tile_vectors; ++v) sums[r][v] = first ? Vector<T>{} : out[r * tile_vectors + v];
  Cursor<T> at{reinterpret_cast<const std::byte*>(panel), static_cast<const Offset*>(rows.offsets),
               static_cast<const T*>(rows.values)};
  visit_complements<T, 1>(at, rows.count, sums);
  visit_complements<T, 2>(at, rows.count, sums);
  visit_complements<T, 3>(at, rows.count, sums);
  visit_complements<T, 4>(at, rows.count, sums);
  visit_complements<T, 5>(at, rows.count, sums);
  visit_complements<T, 6>(at, rows.count, sums);
  visit_complements<T, 7>(at, rows.count, sums);
  visit_run<T, all_on>(at, rows.count[all_on], sums);
  for (int r = 0; r < group_rows; ++r)
    for (int v = 0; v < tile_vectors; ++v) out[r * tile_vectors + v] = sums[r][v];
}

// Where pack_rows stands in the lists that it writes.
template <class T>
struct PackCursor {
  const T* rows[group_rows];
  const std::uint8_t* index;
  Offset* offset;
  T* value;
};

template <class T, int pattern>
static GATENTK_INLINE void pack_visit(PackCursor<T>& at) {
  const int k = *at.index++;
  *at.offset++ = static_cast<Offset>(k * panel_row_bytes);
#pragma GCC unroll 4
  for (int r = 0; r < group_rows; ++r)
    if (pattern >> r & 1) *at.value++ = at.rows[r][k];
}

template <class T, int pattern>
static GATENTK_INLINE void pack_complements(PackCursor<T>& at, const std::uint16_t* count) {
  const int here = count[pattern], there = count[all_on - pattern];
  const int both = here < there ? here : there;
  for (int i = 0; i < both; ++i) {
    pack_visit<T, pattern>(at);
    pack_visit<T, all_on - pattern>(at);
  }
  for (int i = both; i < here; ++i) pack_visit<T, pattern>(at);
  for (int i = both; i < there; ++i) pack_visit<T, all_on - pattern>(at);
}

// Values in visit order: the product then reads them as one sequential stream.
template <class T>
static void pack_rows(const RowsView<T>& source, std::int64_t i0, std::int64_t k0, std::int64_t columns,
                      std::uint16_t* count, void* offsets, T* values) {
  const int rows = static_cast<int>(source.rows - i0 < group_rows ? source.rows - i0 : group_rows);
  std::uint8_t pattern[block_columns];
  if (source.gates)
    patterns_from_gates(source, i0, rows, k0, columns, pattern);
  else
    patterns_from_zeros(source, i0, rows, k0, columns, pattern);
  PlanBlock plan;
  build_plan(pattern, columns, plan);
  __builtin_memcpy(count, plan.count, sizeof plan.count);
  PackCursor<T> at{{}, plan.index, static_cast<Offset*>(offsets), values};
  for (int r = 0; r < group_rows; ++r) at.rows[r] = source.row(i0 + (r < rows ? r : 0)) + k0;
  pack_complements<T, 1>(at, plan.count);
  pack_complements<T, 2>(at, plan.count);
  pack_complements<T, 3>(at, plan.count);
  pack_complements<T, 4>(at, plan.count);
  pack_complements<T, 5>(at, plan.count);
  pack_complements<T, 6>(at, plan.count);
  pack_complements<T, 7>(at, plan.count);
  for (int i = 0; i < plan.count[all_on]; ++i) pack_visit<T, all_on>(at);
}

template <class T>
static void pack_panel(const RowsView<T>& source, std::int64_t j0, std::int64_t k0, std::int64_t columns, T* panel) {
  constexpr int width = panel_columns<T>;
  for (int j = 0; j < width; ++j) {
    T* out = panel + j;
    if (j0 + j >= source.rows) {
      for (std::int64_t k = 0; k < columns; ++k) out[k * width] = 0;
      continue;
    }
    const T* row = source.row(j0 + j) + k0;
    if (source.gates)
      for (std::int64_t k = 0; k < columns; ++k) out[k * width] = source.on(j0 + j, k0 + k) ? row[k] : T(0);
    else
      for (std::int64_t k = 0; k < columns; ++k) out[k * width] = row[k];
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
  return {panel_columns<T>, sizeof(Offset), pack_panel<T>, pack_rows<T>, multiply<T>, multiply_add<T>};
}

}  // namespace gatentk::GATENTK_ISA
