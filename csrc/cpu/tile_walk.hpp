// The walk over the tiles of a product whose panels are all packed beforehand and whose rows are packed in batches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/packed.hpp"
#include "cpu/parallel.hpp"

namespace gatentk::cpu {

// One panel of a tile: rows [row0, row0 + rows), columns [column0, column0 + columns).
struct PanelExtent {
  std::int64_t row0, rows, column0, columns;

  std::int64_t groups() const { return ceil_div(rows, group_rows); }
};

// How a product is cut. Tiles have tile_rows rows and tile_panels panels; a batch of several chunks of groups is packed
// at once. Few batches mean few barriers between threads; within a tile the packed rows of a k-block (about 100 KB)
// stay in L2 for all its panels.
struct Blocking {
  std::int64_t rows, columns;
  bool symmetric;  // tiles below the diagonal are left out
  std::int64_t tile_rows, batch_rows, tile_panels;
  int panel_columns;

  // Fewer rows per tile where there are few, and batches of at most `budget` bytes at `row_bytes` a packed row.
  void fit(std::int64_t row_bytes, std::int64_t budget) {
    const std::int64_t padded = ceil_div(rows, group_rows) * group_rows;
    tile_rows = std::min(tile_rows, padded);
    const std::int64_t packed_rows = chunk_groups * group_rows;  // a multiple of tile_rows, if there are as many
    batch_rows = std::max<std::int64_t>(1, budget / (row_bytes * packed_rows + 1)) * packed_rows;
    batch_rows = std::min(batch_rows, padded);
  }

  std::int64_t panel_size() const { return tile_rows * panel_columns; }
};

// A tile of the result. `group0` is the first of its groups in the packed batch.
struct TileExtent {
  const Blocking& blocking;
  std::int64_t row0, rows, panel0, panels, group0;

  // The i-th panel; of a symmetric product without the groups that lie below the diagonal.
  PanelExtent panel(std::int64_t i) const {
    const std::int64_t column0 = (panel0 + i) * blocking.panel_columns;
    const std::int64_t columns = std::min<std::int64_t>(blocking.panel_columns, blocking.columns - column0);
    return {row0, blocking.symmetric ? std::min(rows, column0 + columns - row0) : rows, column0, columns};
  }
};

// Fetches the share of group `g` of `groups` of the panel block that comes next, while the current one is in use:
// visits jump about in a block, so the hardware does not foresee them (5% of the time).
inline void prefetch_share(const void* block, std::int64_t bytes, std::int64_t g, std::int64_t groups) {
  constexpr std::int64_t line = 64;
  const std::int64_t lines = bytes / line;
  const char* begin = static_cast<const char*>(block);
  for (std::int64_t l = lines * g / groups; l < lines * (g + 1) / groups; ++l)
    __builtin_prefetch(begin + l * line, 0, 2);
}

// Fetches a packed group of rows, which is as long as the one before it, about: groups lie apart, so that the hardware
// foresees only the inner part of each.
template <class T>
void prefetch_group(const std::byte* group, const std::byte* before, const ProductKernels<T>& kernels) {
  constexpr std::int64_t line = 64;
  const std::uint16_t* count = reinterpret_cast<const std::uint16_t*>(before);
  std::int64_t steps = 0;
  for (int run = 0; run < runs; ++run) steps += count[run];
  const std::int64_t bytes = visits_at + steps * kernels.step_bytes;
  for (std::int64_t at = 0; at < bytes; at += line) __builtin_prefetch(group + at, 0, 2);
}

// tile[panel][tile_rows][panel_columns] = rows times panels, k-block by k-block: its panel stays in L1 while the
// groups stream by.
template <class T>
void multiply_tile(const RowStore<T>& rows, const PanelStore<T>& panels, const TileExtent& extent,
                   const ProductKernels<T>& kernels, T* tile) {
  const std::int64_t group_size = group_rows * kernels.panel_columns, panel_size = extent.blocking.panel_size();
  const std::int64_t block_bytes = block_columns * kernels.panel_columns * std::int64_t{sizeof(T)};
  if (!rows.blocks()) std::fill_n(tile, extent.panels * panel_size, T(0));
  for (std::int64_t b = 0; b < rows.blocks(); ++b)
    for (std::int64_t i = 0; i < extent.panels; ++i) {
      const T* panel = panels.block(extent.panel0 + i, b);
      const bool last = i + 1 == extent.panels;
      const bool more = !last || b + 1 < rows.blocks();
      const T* next = more ? panels.block(extent.panel0 + (last ? 0 : i + 1), last ? b + 1 : b) : nullptr;
      const std::int64_t groups = extent.panel(i).groups();
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::byte* group = rows.block(extent.group0 + g, b);
        if (next) prefetch_share(next, std::min(block_bytes, panels.bytes_from(next)), g, groups);
        // Only the first panel finds them outside of L2.
        if (i == 0 && g + 1 < groups) prefetch_group(rows.block(extent.group0 + g + 1, b), group, kernels);
        kernels.multiply(panel, group, tile + i * panel_size + g * group_size, b == 0);
      }
    }
}

// Walks the batches of rows in order; in each, packs its groups, a chunk of them at a time, and then computes its
// tiles, one row of tiles after the other, in parallel. Beside the first groups, before any tile, prepare(0) to
// prepare(tasks - 1) are called: threads that meet less often wait less for one that the system holds up.
template <class Prepare, class Pack, class Compute>
void for_each_tile(const Blocking& blocking, int threads, std::int64_t tasks, Prepare&& prepare, Pack&& pack,
                   Compute&& compute) {
  const std::int64_t panels = ceil_div(blocking.columns, blocking.panel_columns);
  const auto first_panel = [&](std::int64_t row0) { return blocking.symmetric ? row0 / blocking.panel_columns : 0; };
  for (std::int64_t batch0 = 0; batch0 < blocking.rows; batch0 += blocking.batch_rows) {
    const std::int64_t batch = std::min(blocking.batch_rows, blocking.rows - batch0);
    const std::int64_t others = batch0 ? 0 : tasks;
    parallel_for(others + ceil_div(batch, group_rows * chunk_groups), threads, [&](std::int64_t index, int) {
      const std::int64_t chunk = index - others;
      if (chunk < 0)
        prepare(index);
      else
        pack(chunk * chunk_groups, batch0 + chunk * chunk_groups * group_rows);
    });
    std::vector<std::int64_t> begin{0};  // of the tiles of each row of tiles
    for (std::int64_t row0 = batch0; row0 < batch0 + batch; row0 += blocking.tile_rows)
      begin.push_back(begin.back() + ceil_div(panels - first_panel(row0), blocking.tile_panels));
    parallel_for(begin.back(), threads, [&](std::int64_t index, int thread) {
      const std::int64_t down = std::upper_bound(begin.begin(), begin.end(), index) - begin.begin() - 1;
      const std::int64_t row0 = batch0 + down * blocking.tile_rows;
      const std::int64_t panel0 = first_panel(row0) + (index - begin[down]) * blocking.tile_panels;
      compute(TileExtent{blocking, row0, std::min(blocking.tile_rows, batch0 + batch - row0), panel0,
                         std::min(blocking.tile_panels, panels - panel0), down * blocking.tile_rows / group_rows},
              thread);
    });
  }
}

// Writes the valid part of a panel of a tile [..][stride]; a symmetric one above the diagonal and mirrored below it.
template <class T>
void write_panel(const PanelExtent& extent, bool symmetric, bool mirror, const T* tile, std::int64_t stride, T* out,
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

}  // namespace gatentk::cpu
