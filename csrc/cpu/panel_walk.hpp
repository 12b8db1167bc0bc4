// The walk over the panels of a product that packs them on the way: each task packs its panels and multiplies them by
// its span of rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/packed.hpp"
#include "cpu/parallel.hpp"
#include "cpu/tile_walk.hpp"

namespace gatentk::cpu {

// Groups of a tile, which are computed while one panel block lies in L1.
constexpr std::int64_t tile_groups = 128 / group_rows;
// Rows that share one packing of the panels: four tiles.
constexpr std::int64_t span_rows = 512;
// Sums of a task, [panels][span_rows][panel_columns], stay in L2.
constexpr std::int64_t tile_budget = 200 << 10;
constexpr std::int64_t max_panels = 4;
// Tasks a thread should get, so that none waits long for the last.
constexpr std::int64_t tasks_per_thread = 4;

// Tasks of a product: some panels of the columns against a span of rows.
struct Partition {
  std::int64_t spans, panels, panels_per_task;

  Partition(std::int64_t rows, std::int64_t columns, int panel_columns, std::int64_t element_bytes, int threads)
      : spans(ceil_div(rows, span_rows)), panels(ceil_div(columns, panel_columns)) {
    const std::int64_t span = std::min(rows, span_rows);
    panels_per_task = std::clamp<std::int64_t>(tile_budget / (span * panel_columns * element_bytes), 1, max_panels);
    while (panels_per_task > 1 && tasks() < tasks_per_thread * threads) --panels_per_task;
  }

  std::int64_t tasks() const { return spans * ceil_div(panels, panels_per_task); }
};

template <class T>
struct ThreadMemory {
  Buffer<T> panels, tile;
};

// Calls multiply(panel block, first column, columns, group, sums, first) for every group of rows and every block of
// the panels, and write(extent, sums) for every finished panel. Both factors have `width` columns.
template <class T, class Multiply, class Write>
void for_each_block(std::int64_t rows, const RowsView<T>& columns, const ProductKernels<T>& kernels, int threads,
                    Multiply&& multiply, Write&& write) {
  const Partition partition(rows, columns.rows, kernels.panel_columns, sizeof(T), threads);
  const std::int64_t block_size = std::int64_t{block_columns} * kernels.panel_columns;
  const std::int64_t span = std::min(ceil_div(rows, group_rows) * group_rows, span_rows);
  const std::int64_t panel_sums = span * kernels.panel_columns, group_sums = group_rows * kernels.panel_columns;
  std::vector<ThreadMemory<T>> memory;
  for (int t = 0; t < threads; ++t)
    memory.push_back({Buffer<T>(static_cast<std::size_t>(partition.panels_per_task * block_size)),
                      Buffer<T>(static_cast<std::size_t>(partition.panels_per_task * panel_sums))});
  parallel_for(partition.tasks(), threads, [&](std::int64_t task, int thread) {
    T *packed = memory[thread].panels.get(), *tile = memory[thread].tile.get();
    const std::int64_t row0 = task % partition.spans * span_rows, task_rows = std::min(span_rows, rows - row0);
    const std::int64_t panel0 = task / partition.spans * partition.panels_per_task;
    const std::int64_t panels = std::min(partition.panels_per_task, partition.panels - panel0);
    const std::int64_t groups = ceil_div(task_rows, group_rows);
    if (!columns.width) std::fill_n(tile, panels * panel_sums, T(0));
    for (std::int64_t k0 = 0; k0 < columns.width; k0 += block_columns) {
      const std::int64_t width = std::min<std::int64_t>(block_columns, columns.width - k0);
      for (std::int64_t p = 0; p < panels; ++p)
        kernels.pack_panel(columns, (panel0 + p) * kernels.panel_columns, k0, width, packed + p * block_size);
      for (std::int64_t first = 0; first < groups; first += tile_groups)
        for (std::int64_t p = 0; p < panels; ++p)
          for (std::int64_t g = first; g < std::min(groups, first + tile_groups); ++g)
            multiply(packed + p * block_size, k0, width, row0 / group_rows + g, tile + p * panel_sums + g * group_sums,
                     k0 == 0);
    }
    for (std::int64_t p = 0; p < panels; ++p) {
      const std::int64_t column0 = (panel0 + p) * kernels.panel_columns;
      write(
          PanelExtent{row0, task_rows, column0, std::min<std::int64_t>(kernels.panel_columns, columns.rows - column0)},
          tile + p * panel_sums);
    }
  });
}

}  // namespace gatentk::cpu
