// The two sides of a tiled product in their packed formats: panels of the columns, groups of the rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cpu/kernel_table.hpp"
#include "cpu/workspace.hpp"

namespace gatentk::cpu {

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// The columns of a product, transposed into panels: panel p holds [width][panel_columns].
template <class T>
class PanelStore {
 public:
  PanelStore(const RowsView<T>& source, const ProductKernels<T>& kernels)
      : source_(source),
        kernels_(kernels),
        panels_(ceil_div(source.rows, kernels.panel_columns)),
        memory_(static_cast<std::size_t>(panels_ * source.width * kernels.panel_columns)) {}

  std::int64_t panels() const { return panels_; }

  const T* block(std::int64_t p, std::int64_t b) const { return at(p, b * block_columns); }

  // From an address inside the store to its end.
  std::int64_t bytes_from(const T* address) const { return (at(panels_, 0) - address) * std::int64_t{sizeof(T)}; }

  void pack(std::int64_t p) const {
    for (std::int64_t k = 0; k < source_.width; k += block_columns)
      kernels_.pack_panel(source_, p * kernels_.panel_columns, k,
                          std::min<std::int64_t>(block_columns, source_.width - k), at(p, k));
  }

 private:
  T* at(std::int64_t p, std::int64_t k) const {
    return memory_.get() + (p * source_.width + k) * kernels_.panel_columns;
  }

  RowsView<T> source_;
  const ProductKernels<T>& kernels_;
  std::int64_t panels_;
  Buffer<T> memory_;
};

// The rows of a product, packed in groups of four and k-blocks; holds one batch of rows at a time.
template <class T>
class RowStore {
 public:
  RowStore(const RowsView<T>& source, const ProductKernels<T>& kernels, std::int64_t batch_groups)
      : source_(source),
        kernels_(kernels),
        batch_groups_(batch_groups),
        blocks_(ceil_div(source.width, block_columns)),
        slot_(ceil_div(visits_at + std::min<std::int64_t>(block_columns, source.width) * kernels.step_bytes, 64) * 64),
        memory_(static_cast<std::size_t>(batch_groups * blocks_ * slot_)) {}

  std::int64_t blocks() const { return blocks_; }

  // Bytes of a packed row of `width` elements, at most.
  static std::int64_t row_bytes(std::int64_t width, const ProductKernels<T>& kernels) {
    return ceil_div(width, block_columns) * 2 * visits_at + width * kernels.step_bytes / group_rows;
  }

  // Packs the chunk of rows from i0 on (chunk_groups groups, fewer at the end) as groups `group`.. of the batch.
  // `plan`, if not null, is the plan of all rows. Whether it is one of such rows.
  bool pack(std::int64_t group, std::int64_t i0, const PlanBlock* plan = nullptr) const {
    const std::int64_t groups = std::min<std::int64_t>(chunk_groups, ceil_div(source_.rows - i0, group_rows));
    bool fits = true;
    for (std::int64_t b = 0; b < blocks_; ++b)
      fits &= kernels_.pack_rows(source_, i0, groups, b * block_columns,
                                 std::min<std::int64_t>(block_columns, source_.width - b * block_columns),
                                 plan ? plan + i0 / group_rows * blocks_ + b : nullptr, blocks_, {at(group, b), slot_});
    return fits;
  }

  const std::byte* block(std::int64_t group, std::int64_t b) const { return at(group, b); }

 private:
  std::byte* at(std::int64_t group, std::int64_t b) const {
    return memory_.get() + (b * batch_groups_ + group) * slot_;
  }

  RowsView<T> source_;
  const ProductKernels<T>& kernels_;
  std::int64_t batch_groups_, blocks_, slot_;
  Buffer<std::byte> memory_;
};

}  // namespace gatentk::cpu
