// Products of two matrices of which the left one is masked: forward, input gradient and weight gradient of gated
// layers.
#pragma once

#include <cstdint>

#include "gatentk/views.hpp"

namespace gatentk {

// out = left columns^T.
template <class T>
struct MaskedProduct {
  RowsView<T> left;     // masked by its gates, or else by its exact zeros
  RowsView<T> columns;  // row j is column j of the right factor; its gates mask it
  T* out = nullptr;     // [left.rows][columns.rows], written
  std::int64_t out_stride = 0;
  GateView gates;  // of `out`: elements that are off become 0
};

}  // namespace gatentk
