#include "cpu/ordered_linear.hpp"

#include <algorithm>

#include "cpu/panel_walk.hpp"

namespace gatentk::cpu {

template <class T>
void ordered_linear(const OrderedProduct<T>& product, int threads) {
  const RowsView<T>&x = product.x, &weight = product.weight;
  const ProductKernels<T>& kernel = product_kernels<T>(kernels());
  if (!x.rows || !weight.rows) return;
  for_each_block<T>(
      x.rows, weight, kernel, threads,
      [&](const T* panel, std::int64_t k0, std::int64_t width, std::int64_t group, T* sums, bool first) {
        const T* rows[group_rows];
        for (int r = 0; r < group_rows; ++r) rows[r] = x.at(std::min(group * group_rows + r, x.rows - 1), k0);
        kernel.multiply_ordered(panel, rows, width, sums, first);
      },
      [&](const PanelExtent& extent, const T* sums) {
        for (std::int64_t r = 0; r < extent.rows; ++r) {
          T* row = product.out + (extent.row0 + r) * product.out_stride + extent.column0;
          const T* from = sums + r * kernel.panel_columns;
          for (std::int64_t c = 0; c < extent.columns; ++c) row[c] = product.relu && from[c] <= 0 ? T(0) : from[c];
        }
      });
}

template void ordered_linear(const OrderedProduct<float>&, int);
template void ordered_linear(const OrderedProduct<double>&, int);

}  // namespace gatentk::cpu
