// Sums of a few rows, for products of few samples: they are bound by memory, not by arithmetic.
#pragma once

#include <cstdint>

#include "cpu/few_rows.hpp"
#include "cpu/registers.hpp"
#include "cpu/simd.hpp"

namespace gatentk::cpu::GATENTK_ISA {

template <class T, int count>
static GATENTK_INLINE Vector<T> weighted_sum(const T* const* rows, const Vector<T>* factors, std::int64_t column) {
  Vector<T> sum{};
  unrolled<count>([&](auto r)
                      __attribute__((always_inline)) { sum += factors[r.index] * load(rows[r.index] + column); });
  return sum;
}

// The last columns go through a vector of their own: an element is rounded alike wherever it lies.
template <class T, int count, bool add>
static GATENTK_INLINE void combine_rows_of(const T* const* rows, const T* factors, std::int64_t columns, T* out) {
  constexpr int lanes = Simd<T>::lanes;
  Vector<T> factor[count ? count : 1] = {};
  for (int r = 0; r < count; ++r) factor[r] = broadcast(factors[r]);
  std::int64_t c = 0;
  for (; c + lanes <= columns; c += lanes) {
    Vector<T> sum = weighted_sum<T, count>(rows, factor, c);
    if constexpr (add) sum += load(out + c);
    store(out + c, sum);
  }
  if (c == columns) return;
  alignas(GATENTK_VECTOR_BYTES) T last[count ? count : 1][lanes] = {}, sums[lanes];
  const T* starts[count ? count : 1];
  for (int r = 0; r < count; ++r) {
    for (std::int64_t lane = 0; lane < columns - c; ++lane) last[r][lane] = rows[r][c + lane];
    starts[r] = last[r];
  }
  store(sums, weighted_sum<T, count>(starts, factor, 0));
  for (std::int64_t lane = 0; lane < columns - c; ++lane) out[c + lane] = add ? sums[lane] + out[c + lane] : sums[lane];
}

template <class T, bool add>
static void combine_some(const T* const* rows, const T* factors, int count, std::int64_t columns, T* out) {
  static_assert(most_combined == 4);
  switch (count) {
    case 0:
      return combine_rows_of<T, 0, add>(rows, factors, columns, out);
    case 1:
      return combine_rows_of<T, 1, add>(rows, factors, columns, out);
    case 2:
      return combine_rows_of<T, 2, add>(rows, factors, columns, out);
    case 3:
      return combine_rows_of<T, 3, add>(rows, factors, columns, out);
    default:
      return combine_rows_of<T, 4, add>(rows, factors, columns, out);
  }
}

template <class T>
static void combine_rows(const T* const* rows, const T* factors, int count, std::int64_t columns, T* out, bool add) {
  if (add) return combine_some<T, true>(rows, factors, count, columns, out);
  combine_some<T, false>(rows, factors, count, columns, out);
}

// Outer products

constexpr int outer_rows = 4, outer_vectors = GATENTK_VECTOR_BYTES == 64 ? 6 : 3;

// `vectors` vectors of `rows` rows of the result, of the samples in the list.
template <class T, int rows, int vectors>
static GATENTK_INLINE void add_outer(const OuterProducts<T>& problem, const std::int32_t* ids, std::int64_t count,
                                     std::int64_t row, std::int64_t column) {
  constexpr int lanes = Simd<T>::lanes;
  Sums<T, rows * vectors> sums;
  unrolled<rows * vectors>([&](auto v) __attribute__((always_inline)) { sum_at<v.index>(sums) = Vector<T>{}; });
#pragma GCC unroll 1
  for (std::int64_t s = 0; s < count; ++s) {
    const T* left = problem.left + ids[s] * problem.left_stride + row;
    const T* right = problem.right + ids[s] * problem.right_stride + column;
    Sums<T, vectors> values;
    unrolled<vectors>([&](auto v)
                          __attribute__((always_inline)) { sum_at<v.index>(values) = load(right + v.index * lanes); });
    unrolled<rows>([&](auto r) __attribute__((always_inline)) {
      const Vector<T> factor = broadcast(left[r.index]);
      unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
        sum_at<r.index * vectors + v.index>(sums) += factor * sum_at<v.index>(values);
      });
    });
  }
  unrolled<rows * vectors>([&](auto v) __attribute__((always_inline)) {
    constexpr int r = v.index / vectors, at = v.index % vectors * lanes;
    T* out = problem.out + (row + r) * problem.out_stride + column + at;
    if (problem.streamed)
      stream(out, sum_at<v.index>(sums));
    else
      store(out, sum_at<v.index>(sums));
  });
}

template <class T, int rows>
static void outer_rows_of(const OuterProducts<T>& problem, std::int64_t row, std::int32_t* ids) {
  constexpr int lanes = Simd<T>::lanes;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < problem.samples; ++i) {
    bool on = false;
    for (int r = 0; r < rows; ++r) on |= problem.left[i * problem.left_stride + row + r] != 0;
    ids[count] = static_cast<std::int32_t>(i);
    count += on;
  }
  std::int64_t c = 0;
  for (; c + outer_vectors * lanes <= problem.columns; c += outer_vectors * lanes)
    add_outer<T, rows, outer_vectors>(problem, ids, count, row, c);
  for (; c + lanes <= problem.columns; c += lanes) add_outer<T, rows, 1>(problem, ids, count, row, c);
  for (; c < problem.columns; ++c)
    for (int r = 0; r < rows; ++r) {
      T sum = 0;
      for (std::int64_t s = 0; s < count; ++s)
        sum += problem.left[ids[s] * problem.left_stride + row + r] * problem.right[ids[s] * problem.right_stride + c];
      problem.out[(row + r) * problem.out_stride + c] = sum;
    }
}

template <class T>
static void outer_products(const OuterProducts<T>& problem) {
  std::int32_t ids[most_outer_products + 1];
  std::int64_t row = 0;
  for (; row + outer_rows <= problem.rows; row += outer_rows) outer_rows_of<T, outer_rows>(problem, row, ids);
  for (; row < problem.rows; ++row) outer_rows_of<T, 1>(problem, row, ids);
  if (problem.streamed) finish_streams();
}

}  // namespace gatentk::cpu::GATENTK_ISA
