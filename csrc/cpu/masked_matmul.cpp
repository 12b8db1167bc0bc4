#include "cpu/masked_matmul.hpp"

#include <algorithm>
#include <atomic>
#include <stdexcept>

#include "cpu/panel_walk.hpp"

namespace gatentk::cpu {

namespace {

// A single row: dot products with the rows of the right factor whose output is on; the others are not even read.
template <class T>
void multiply_row(const MaskedProduct<T>& product, const ProductKernels<T>& kernel, int threads) {
  const RowsView<T>&left = product.left, &columns = product.columns;
  const Buffer<T> row(static_cast<std::size_t>(left.width));
  for (std::int64_t k = 0; k < left.width; ++k) {
    const std::uint8_t* bits = left.gates.bits;
    const bool on = !bits || (left.transposed ? bits[k * left.gates.stride] & 1 : bits[k / 8] >> (k % 8) & 1);
    row.get()[k] = on ? *left.at(0, k) : T(0);
  }
  constexpr std::int64_t task_outputs = 64;
  parallel_for(ceil_div(columns.rows, task_outputs), threads, [&](std::int64_t task, int) {
    for (std::int64_t j = task * task_outputs; j < std::min(columns.rows, (task + 1) * task_outputs); ++j) {
      const bool on = !product.gates.bits || (product.gates.bits[j / 8] >> (j % 8) & 1);
      product.out[j] = on ? kernel.dot(row.get(), columns.row(j), left.width) : T(0);
    }
  });
}

}  // namespace

template <class T>
void masked_matmul(const MaskedProduct<T>& product, const PlanBlock* plan, int threads) {
  const ProductKernels<T>& kernel = product_kernels<T>(kernels());
  const std::int64_t rows = product.left.rows, groups = ceil_div(rows, group_rows);
  if (!rows || !product.columns.rows) return;
  if (rows == 1 && !product.columns.transposed && !product.columns.gates.bits)
    return multiply_row(product, kernel, threads);
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
