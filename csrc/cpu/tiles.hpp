// What the drivers of tiled products share: packed panels of the column side, packed chunks of the row side, and
// the walk over chunks and panels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "gatentk/kernel_table.hpp"
#include "gatentk/parallel.hpp"
#include "gatentk/workspace.hpp"

namespace gatentk {

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

// The rows of a product, packed in groups of four and k-blocks; holds one chunk of rows at a time.
template <class T>
class RowStore {
 public:
  RowStore(const RowsView<T>& source, const ProductKernels<T>& kernels, std::int64_t chunk_groups)
      : source_(source),
        kernels_(kernels),
        chunk_groups_(chunk_groups),
        blocks_(ceil_div(source.width, block_columns)),
        values_at_(header_bytes + kernels.offset_bytes * std::min<std::int64_t>(block_columns, padded(source.width))),
        slot_(values_at_ +
              std::int64_t{sizeof(T)} * group_rows * std::min<std::int64_t>(block_columns, padded(source.width))),
        memory_(static_cast<std::size_t>(chunk_groups * blocks_ * slot_)) {}

  std::int64_t blocks() const { return blocks_; }

  // Packs the rows from i0 on as group `group` of the chunk.
  void pack(std::int64_t group, std::int64_t i0) const {
    for (std::int64_t b = 0; b < blocks_; ++b) {
      std::byte* slot = at(group, b);
      kernels_.pack_rows(
          source_, i0, b * block_columns, std::min<std::int64_t>(block_columns, source_.width - b * block_columns),
          reinterpret_cast<std::uint16_t*>(slot), slot + header_bytes, reinterpret_cast<T*>(slot + values_at_));
    }
  }

  PackedBlock block(std::int64_t group, std::int64_t b) const {
    const std::byte* slot = at(group, b);
    return {reinterpret_cast<const std::uint16_t*>(slot), slot + header_bytes, slot + values_at_};
  }

 private:
  static constexpr std::int64_t header_bytes = 64;

  static constexpr std::int64_t padded(std::int64_t width) { return ceil_div(width, 16) * 16; }
  std::byte* at(std::int64_t group, std::int64_t b) const {
    return memory_.get() + (b * chunk_groups_ + group) * slot_;
  }

  RowsView<T> source_;
  const ProductKernels<T>& kernels_;
  std::int64_t chunk_groups_, blocks_, values_at_, slot_;
  Buffer<std::byte> memory_;
};

// Fetches the share of group `g` of the next panel block while the current one is in use: 8 of its lines per group
// cover 24 KB over 48 groups. Visits jump about in the block, so the hardware does not foresee them (5% of the time).
inline void prefetch_panel(const void* next_block, std::int64_t g) {
  constexpr int lines = 8, line_bytes = 64;
  const char* begin = static_cast<const char*>(next_block) + g * lines * line_bytes;
  for (int line = 0; line < lines; ++line) __builtin_prefetch(begin + line * line_bytes, 0, 2);
}

// tile[4 groups][panel_columns] = rows times panel p. The k-block is the outer loop: its panel stays in L1 while
// the groups stream by.
template <class T>
void multiply_tile(const RowStore<T>& rows, const PanelStore<T>& panels, std::int64_t p, std::int64_t groups,
                   const ProductKernels<T>& kernels, T* tile) {
  const std::int64_t tile_size = group_rows * kernels.panel_columns, blocks = rows.blocks();
  if (!blocks) std::fill_n(tile, groups * tile_size, T(0));
  for (std::int64_t b = 0; b < blocks; ++b)
    for (std::int64_t g = 0; g < groups; ++g) {
      if (b + 1 < blocks) prefetch_panel(panels.block(p, b + 1), g);
      kernels.multiply(panels.block(p, b), rows.block(g, b), tile + g * tile_size, b == 0);
    }
}

// Where a tile lies: rows [row0, row0 + rows), columns [column0, column0 + columns).
struct TileExtent {
  std::int64_t row0, rows, column0, columns, panel;

  std::int64_t groups() const { return ceil_div(rows, group_rows); }
};

// Walks chunks of rows in order; in each, packs its groups and then computes the tiles of all panels in parallel.
// A symmetric problem leaves out what lies below the diagonal.
template <class Pack, class Compute>
void for_each_tile(std::int64_t rows, std::int64_t columns, bool symmetric, std::int64_t chunk_rows, int panel_columns,
                   int threads, Pack&& pack, Compute&& compute) {
  const std::int64_t panels = ceil_div(columns, panel_columns);
  for (std::int64_t row0 = 0; row0 < rows; row0 += chunk_rows) {
    const std::int64_t chunk = std::min(chunk_rows, rows - row0);
    parallel_for(ceil_div(chunk, group_rows), threads,
                 [&](std::int64_t group, int) { pack(group, row0 + group * group_rows); });
    const std::int64_t first = symmetric ? row0 / panel_columns : 0;
    parallel_for(panels - first, threads, [&](std::int64_t index, int thread) {
      TileExtent tile{row0, chunk, (first + index) * panel_columns, 0, first + index};
      tile.columns = std::min<std::int64_t>(panel_columns, columns - tile.column0);
      if (symmetric) tile.rows = std::min(chunk, tile.column0 + tile.columns - row0);
      compute(tile, thread);
    });
  }
}

// Writes the valid part of a tile [..][stride]; a symmetric one above the diagonal and mirrored below it.
template <class T>
void write_tile(const TileExtent& extent, bool symmetric, bool mirror, const T* tile, std::int64_t stride, T* out,
                std::int64_t out_stride) {
  for (std::int64_t r = 0; r < extent.rows; ++r) {
    const std::int64_t i = extent.row0 + r;
    const std::int64_t begin = symmetric ? std::max<std::int64_t>(0, i - extent.column0) : 0;
    T* row = out + i * out_stride + extent.column0;
    for (std::int64_t c = begin; c < extent.columns; ++c) row[c] = tile[r * stride + c];
  }
  if (!mirror) return;
  for (std::int64_t c = 0; c < extent.columns; ++c) {
    const std::int64_t above = std::min(extent.rows, extent.column0 + c - extent.row0);
    T* row = out + (extent.column0 + c) * out_stride + extent.row0;
    for (std::int64_t r = 0; r < above; ++r) row[r] = tile[r * stride + c];
  }
}

}  // namespace gatentk
