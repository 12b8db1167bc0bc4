// Gram matrices and their Hadamard products, the assembly of finite-width tangent kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "gatentk/views.hpp"

namespace gatentk {

// The two sides of a product P = rows columns^T: the same matrix twice for a symmetric problem.
template <class T>
struct Factor {
  RowsView<T> rows, columns;
};

// (A A^T + bias) o (Delta Delta^T); a delta without columns (width 0) counts as all ones.
template <class T>
struct GramTerm {
  Factor<T> act, delta;
  double bias = 0;
};

// out = sum over the terms. The row side of every factor is masked by its gates, or else by its exact zeros.
template <class T>
struct GramProblem {
  std::int64_t rows = 0, columns = 0;
  bool symmetric = false;  // columns are the rows: one triangle is computed and mirrored
  std::vector<GramTerm<T>> terms;
  T* out = nullptr;  // [rows][columns], written
  std::int64_t out_stride = 0;
};

}  // namespace gatentk
