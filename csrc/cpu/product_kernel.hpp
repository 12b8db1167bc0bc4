// The micro-kernels of products: micro_tile[4][panel_columns] += rows (masked) times panel, visiting only what is on;
// and what is done with their sums.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/few_rows_kernel.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/packing_kernel.hpp"
#include "cpu/registers.hpp"
#include "cpu/simd.hpp"

namespace gatentk::cpu::GATENTK_ISA {

template <class T>
using Accumulators = Sums<T, group_rows * panel_vectors>;

// One row of a visit: sums of row r += factor * panel row.
template <class T, int r>
static GATENTK_INLINE void add_row(T factor, Sums<T, panel_vectors>& row, Accumulators<T>& sums) {
  const Vector<T> factors = broadcast(factor);
  unrolled<panel_vectors>([&](auto v) __attribute__((always_inline)) {
    sum_at<r * panel_vectors + v.index>(sums) += factors * sum_at<v.index>(row);
  });
}

// One column: its panel row is loaded once and used by exactly the rows of `pattern`.
template <class T, int pattern>
static GATENTK_INLINE void visit(const std::byte* panel, typename Step<T>::Offset offset, const T* value,
                                 Accumulators<T>& sums) {
  Sums<T, panel_vectors> row;
  unrolled<panel_vectors>([&](auto v) __attribute__((always_inline)) {
    sum_at<v.index>(row) = *reinterpret_cast<const Vector<T>*>(panel + offset + v.index * GATENTK_VECTOR_BYTES);
  });
  if constexpr (pattern & 1) add_row<T, 0>(value[0], row, sums);
  if constexpr (pattern & 2) add_row<T, 1>(value[__builtin_popcount(pattern & 1)], row, sums);
  if constexpr (pattern & 4) add_row<T, 2>(value[__builtin_popcount(pattern & 3)], row, sums);
  if constexpr (pattern & 8) add_row<T, 3>(value[__builtin_popcount(pattern & 7)], row, sums);
}

template <class T, int pattern>
static GATENTK_INLINE const Step<T>* visit_pairs(const std::byte* panel, const Step<T>* step, int pairs,
                                                 Accumulators<T>& sums) {
  constexpr int rows_on = __builtin_popcount(pattern);
  const Step<T>* end = step + pairs;
#pragma GCC unroll 1
  for (; step != end; ++step) {
    visit<T, pattern>(panel, step->offset[0], step->value, sums);
    visit<T, all_on - pattern>(panel, step->offset[1], step->value + rows_on, sums);
  }
  return step;
}

template <class T>
static GATENTK_INLINE const Step<T>* visit_singles(const std::byte* panel, const Step<T>* step, int singles,
                                                   Accumulators<T>& sums) {
  const Step<T>* end = step + singles;
#pragma GCC unroll 1
  for (; step != end; ++step) visit<T, all_on>(panel, step->offset[0], step->value, sums);
  return step;
}

template <class T>
static GATENTK_INLINE void clear(Accumulators<T>& sums) {
  unrolled<group_rows * panel_vectors>([&](auto v)
                                           __attribute__((always_inline)) { sum_at<v.index>(sums) = Vector<T>{}; });
}

template <class T>
static GATENTK_INLINE void add_to_micro_tile(const Accumulators<T>& sums, Vector<T>* micro_tile, bool first) {
  unrolled<group_rows * panel_vectors>([&](auto v) __attribute__((always_inline)) {
    const Vector<T>& sum = static_cast<const Sums<T, v.index + 1>&>(sums).last;
    micro_tile[v.index] = first ? sum : micro_tile[v.index] + sum;
  });
}

// Single columns that are summed in one go, for accuracy where most gates are on. At 50% density there are about 25.
constexpr int longest_chain = 96;

// A k-block is summed on its own and then added to the micro-tile: shorter chains of roundings than one running sum.
// Everything down to the accumulators is inlined: once they leave their registers the product is 2.4 times slower.
template <class T>
static void multiply(const T* panel_values, const std::byte* rows, T* micro_tile, bool first) {
  const std::uint16_t* count = reinterpret_cast<const std::uint16_t*>(rows);
  const Step<T>* step = reinterpret_cast<const Step<T>*>(rows + visits_at);
  const std::byte* panel = reinterpret_cast<const std::byte*>(panel_values);
  Vector<T>* out = reinterpret_cast<Vector<T>*>(micro_tile);
  Accumulators<T> sums;
  clear<T>(sums);
  step = visit_pairs<T, 1>(panel, step, count[1], sums);
  step = visit_pairs<T, 2>(panel, step, count[2], sums);
  step = visit_pairs<T, 3>(panel, step, count[3], sums);
  step = visit_pairs<T, 4>(panel, step, count[4], sums);
  step = visit_pairs<T, 5>(panel, step, count[5], sums);
  step = visit_pairs<T, 6>(panel, step, count[6], sums);
  step = visit_pairs<T, 7>(panel, step, count[7], sums);
  int singles = count[0];
  for (; singles > longest_chain; singles -= longest_chain) {
    add_to_micro_tile<T>(sums, out, first);
    clear<T>(sums);
    first = false;
    step = visit_singles<T>(panel, step, longest_chain, sums);
  }
  visit_singles<T>(panel, step, singles, sums);
  add_to_micro_tile<T>(sums, out, first);
}

// All columns in rising order, one fused multiply-add a step: the rounding of an element depends on nothing else.
template <class T>
static void multiply_ordered(const T* panel, const T* const* rows, std::int64_t columns, T* micro_tile, bool first) {
  Accumulators<T> sums;
  Vector<T>* out = reinterpret_cast<Vector<T>*>(micro_tile);
  unrolled<group_rows * panel_vectors>([&](auto v) __attribute__((always_inline)) {
    sum_at<v.index>(sums) = first ? Vector<T>{} : out[v.index];
  });
  const Vector<T>* from = reinterpret_cast<const Vector<T>*>(panel);
#pragma GCC unroll 1
  for (std::int64_t k = 0; k < columns; ++k, from += panel_vectors) {
    unrolled<group_rows>([&](auto r) __attribute__((always_inline)) {
      const Vector<T> factors = broadcast(rows[r.index][k]);
      unrolled<panel_vectors>([&](auto v) __attribute__((always_inline)) {
        Vector<T>& sum = sum_at<r.index * panel_vectors + v.index>(sums);
        sum = fused_multiply_add(factors, from[v.index], sum);
      });
    });
  }
  unrolled<group_rows * panel_vectors>([&](auto v)
                                           __attribute__((always_inline)) { out[v.index] = sum_at<v.index>(sums); });
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

// Eight running sums: enough to hide the latency of the FMA, and as accurate as the tiles.
template <class T>
static T dot(const T* a, const T* b, std::int64_t count) {
  constexpr int lanes = Simd<T>::lanes, sums_count = 8;
  Sums<T, sums_count> sums;
  unrolled<sums_count>([&](auto v) __attribute__((always_inline)) { sum_at<v.index>(sums) = Vector<T>{}; });
  std::int64_t k = 0;
  for (; k + sums_count * lanes <= count; k += sums_count * lanes)
    unrolled<sums_count>([&](auto v) __attribute__((always_inline)) {
      sum_at<v.index>(sums) += load(a + k + v.index * lanes) * load(b + k + v.index * lanes);
    });
  Vector<T> total{};
  unrolled<sums_count>([&](auto v) __attribute__((always_inline)) { total += sum_at<v.index>(sums); });
  T rest = 0;
  for (; k < count; ++k) rest += a[k] * b[k];
  return horizontal_sum<T>(total) + rest;
}

template <class T>
static void write_row(const T* sums, std::int64_t columns, const std::uint8_t* bits, std::int64_t first, T* row) {
  constexpr int lanes = Simd<T>::lanes;
  std::int64_t c = 0;
  for (; c + lanes <= columns; c += lanes) {
    Vector<T> values = load(sums + c);
    if (bits) values = (Vector<T>)((IntegerVector<T>)values & gate_lanes<T>(bits, first + c));
    store(row + first + c, values);
  }
  for (; c < columns; ++c) row[first + c] = !bits || (bits[(first + c) / 8] >> ((first + c) % 8) & 1) ? sums[c] : T(0);
}

template <class T>
static ProductKernels<T> product_kernels() {
  return {panel_columns<T>, sizeof(Step<T>), pack_panel<T>,   pack_rows<T>,    multiply<T>,      multiply_ordered<T>,
          dot<T>,           write_row<T>,    multiply_add<T>, combine_rows<T>, outer_products<T>};
}

}  // namespace gatentk::cpu::GATENTK_ISA
