// Products of two matrices of which the left one is masked: forward, input gradient and weight gradient of gated
// layers.
#pragma once

#include <cstdint>

#include "gatentk/plan.hpp"
#include "gatentk/views.hpp"

namespace gatentk {

template <class T>
struct MaskedProduct {
  RowsView<T> left;                 // masked by its gates, or else by its exact zeros
  const PlanBlock* plan = nullptr;  // [groups][blocks] of the gates of `left`, or null: made on the way
  RowsView<T> columns;              // row j is column j of the right factor; its gates mask it
  T* out = nullptr;                 // [left.rows][columns.rows], written
  std::int64_t out_stride = 0;
  GateView gates;  // of `out`: elements that are off become 0
};

// out = left columns^T. The result does not depend on the number of threads.
template <class T>
void masked_matmul(const MaskedProduct<T>& product, int threads);

// out = x weight^T; every element is one chain of fused multiply-adds over rising columns, from 0. Negative results
// become 0 if `relu`.
template <class T>
void ordered_linear(const RowsView<T>& x, const RowsView<T>& weight, bool relu, T* out, std::int64_t out_stride,
                    int threads);

// Plan of `rows` x `columns` gates: [groups][blocks].
void build_plan(const GateView& gates, bool transposed, std::int64_t rows, std::int64_t columns, PlanBlock* plan,
                int threads);

}  // namespace gatentk
