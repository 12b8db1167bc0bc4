#include "cpu/masked_matmul.hpp"

#include <algorithm>
#include <atomic>
#include <stdexcept>

#include "cpu/few_rows.hpp"
#include "cpu/panel_walk.hpp"

namespace gatentk::cpu {

namespace {

template <class T>
bool is_on(const RowsView<T>& view, std::int64_t i, std::int64_t k) {
  if (!view.gates.bits) return true;
  const std::int64_t row = view.transposed ? k : i, bit = view.transposed ? i : k;
  return view.gates.bits[row * view.gates.stride + bit / 8] >> (bit % 8) & 1;
}

// The elements (i, k) of column k, or of row i, with zeros where they are off.
template <class T>
void copy_column(const RowsView<T>& view, std::int64_t k, T* to) {
  for (std::int64_t i = 0; i < view.rows; ++i) to[i] = is_on(view, i, k) ? *view.at(i, k) : T(0);
}

template <class T>
void copy_row(const RowsView<T>& view, std::int64_t i, T* to) {
  for (std::int64_t k = 0; k < view.width; ++k) to[k] = is_on(view, i, k) ? *view.at(i, k) : T(0);
}

// A single row: dot products with the rows of the right factor whose output is on; the others are not even read.
template <class T>
void multiply_row(const MaskedProduct<T>& product, const ProductKernels<T>& kernel, int threads) {
  const RowsView<T>&left = product.left, &columns = product.columns;
  const Buffer<T> row(static_cast<std::size_t>(left.width));
  copy_row(left, 0, row.get());
  constexpr std::int64_t task_outputs = 64;
  parallel_for(ceil_div(columns.rows, task_outputs), threads, [&](std::int64_t task, int) {
    for (std::int64_t j = task * task_outputs; j < std::min(columns.rows, (task + 1) * task_outputs); ++j) {
      const bool on = !product.gates.bits || (product.gates.bits[j / 8] >> (j % 8) & 1);
      product.out[j] = on ? kernel.dot(row.get(), columns.row(j), left.width) : T(0);
    }
  });
}

// Rows one by one: the stored rows of the right factor that are on, added up.
template <class T>
void add_up_rows(const MaskedProduct<T>& product, int threads) {
  const RowsView<T>&left = product.left, &columns = product.columns;
  const Buffer<T> row(static_cast<std::size_t>(left.width));
  for (std::int64_t i = 0; i < left.rows; ++i) {
    copy_row(left, i, row.get());
    WeightedRows<T> weighted;
    for (std::int64_t k = 0; k < left.width; ++k)
      if (row.get()[k] != 0) weighted.add(columns.at(0, k), row.get()[k]);
    sum_rows(weighted, {{0, columns.rows}},
             product.gates.bits ? product.gates.bits + i * product.gates.stride : nullptr, columns.rows,
             product.out + i * product.out_stride, threads);
  }
}

// A sum of few outer products.
template <class T>
void multiply_columns(const MaskedProduct<T>& product, int threads) {
  const RowsView<T>&left = product.left, &right = product.columns;
  const Buffer<T> lefts(static_cast<std::size_t>(left.rows * left.width));
  const Buffer<T> rights(static_cast<std::size_t>(right.rows * right.width));
  for (std::int64_t k = 0; k < left.width; ++k) {
    copy_column(left, k, lefts.get() + k * left.rows);
    copy_column(right, k, rights.get() + k * right.rows);
  }
  add_outer_products<T>({lefts.get(), left.rows, rights.get(), right.rows, left.width, left.rows, right.rows,
                         product.out, product.out_stride},
                        threads);
}

}  // namespace

template <class T>
void masked_matmul(const MaskedProduct<T>& product, const PlanBlock* plan, int threads) {
  const ProductKernels<T>& kernel = product_kernels<T>(kernels());
  const std::int64_t rows = product.left.rows, groups = ceil_div(rows, group_rows);
  if (!rows || !product.columns.rows) return;
  if (product.left.width <= most_outer_products && !product.gates.bits) return multiply_columns(product, threads);
  if (!product.columns.gates.bits) {
    if (rows == 1 && !product.columns.transposed) return multiply_row(product, kernel, threads);
    if (rows <= few_rows && product.columns.transposed) return add_up_rows(product, threads);
  }
  advise_huge_pages(product.out, static_cast<std::size_t>(rows * product.out_stride) * sizeof(T));
  const RowStore<T> packed(product.left, kernel, groups);
  std::atomic<bool> fits{true};
  parallel_for(ceil_div(groups, chunk_groups), threads, [&](std::int64_t chunk, int) {
    if (!packed.pack(chunk * chunk_groups, chunk * chunk_groups * group_rows, plan)) fits = false;
  });
  if (!fits) throw std::invalid_argument("plans: expected those that build_plan makes of the gates, got other bytes");
  for_each_block<T>(
      rows, product.columns, kernel, threads,
      [&](const T* panel, std::int64_t k0, std::int64_t, std::int64_t group, T* sums, bool first) {
        kernel.multiply(panel, packed.block(group, k0 / block_columns), sums, first);
      },
      [&](const PanelExtent& extent, const T* sums) {
        for (std::int64_t r = 0; r < extent.rows; ++r) {
          const std::int64_t i = extent.row0 + r;
          kernel.write_row(sums + r * kernel.panel_columns, extent.columns,
                           product.gates.bits ? product.gates.bits + i * product.gates.stride : nullptr, extent.column0,
                           product.out + i * product.out_stride);
        }
      });
}

template void masked_matmul(const MaskedProduct<float>&, const PlanBlock*, int);
template void masked_matmul(const MaskedProduct<double>&, const PlanBlock*, int);

}  // namespace gatentk::cpu
