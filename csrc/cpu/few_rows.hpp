// Gradients of one or a few samples: what is read and written of matrices as large as the weight takes all the time.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/block_tile.hpp"

namespace gatentk::cpu {

// Rows that one call of the kernel takes.
constexpr int most_combined = 4;

// Samples up to which the gradient of a weight is a sum of that many outer products, made where it is written.
constexpr std::int64_t most_outer_products = 32;

// Samples up to which each is multiplied on its own, whatever of the weight it needs.
constexpr std::int64_t few_rows = 3;

// Rows of a matrix with a factor for each.
template <class T>
struct WeightedRows {
  std::vector<const T*> rows;
  std::vector<T> factors;

  void add(const T* row, T factor) {
    rows.push_back(row);
    factors.push_back(factor);
  }
};

// out[c] = sum of factors[i] * rows[i][c] in the segments, which rise, and 0 outside of them, for c < columns. Where
// bit c of `bits`, if not null, is 0, it is 0 as well.
template <class T>
void sum_rows(const WeightedRows<T>& weighted, const std::vector<Segment>& segments, const std::uint8_t* bits,
              std::int64_t columns, T* out, int threads);

// out[r][c] = sum over the samples i of left[i][r] * right[i][c].
template <class T>
struct OuterProducts {
  const T* left;
  std::int64_t left_stride;
  const T* right;
  std::int64_t right_stride;
  std::int64_t samples;  // <= most_outer_products
  std::int64_t rows, columns;
  T* out;
  std::int64_t out_stride;
  bool streamed = false;  // written past the cache: rows of `out` are aligned to a vector
};

// Chooses by itself whether the result is streamed.
template <class T>
void add_outer_products(OuterProducts<T> problem, int threads);

}  // namespace gatentk::cpu
