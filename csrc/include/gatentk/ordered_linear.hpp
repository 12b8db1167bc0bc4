// Products in a fixed order, bit for bit the same on every processor: what gates are computed with.
#pragma once

#include <cstdint>

#include "gatentk/views.hpp"

namespace gatentk {

// out = x weight^T; every element is one chain of fused multiply-adds over rising columns, from 0.
template <class T>
struct OrderedProduct {
  RowsView<T> x, weight;  // without gates
  bool relu = false;      // negative results become 0
  T* out = nullptr;       // [x.rows][weight.rows], written
  std::int64_t out_stride = 0;
};

}  // namespace gatentk
