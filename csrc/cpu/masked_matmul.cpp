#include "gatentk/masked_matmul.hpp"

#include <vector>

#include "tiles.hpp"

namespace gatentk {

namespace {

// Rows of a tile that are computed while one panel block lies in L1.
constexpr std::int64_t chunk_rows = 128;
// Rows that share one packing of the panels: at least eight chunks.
constexpr std::int64_t span_rows = 1024;
// Sums of a unit of work, [panels][span_rows][panel_columns], stay in L2.
constexpr std::int64_t tile_budget = 200 << 10;
constexpr std::int64_t most_panels = 4;
// Tasks a thread should get, so that none waits long for the last.
constexpr std::int64_t tasks_per_thread = 4;

// A unit of work: some panels of the columns, packed on the way, against a span of rows.
struct Cut {
  std::int64_t spans, panels, panels_per_task;

  Cut(std::int64_t rows, std::int64_t columns, int panel_columns, std::int64_t element_bytes, int threads)
      : spans(ceil_div(rows, span_rows)), panels(ceil_div(columns, panel_columns)) {
    const std::int64_t span = std::min(rows, span_rows);
    panels_per_task = std::clamp<std::int64_t>(tile_budget / (span * panel_columns * element_bytes), 1, most_panels);
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
  const Cut cut(rows, columns.rows, kernels.panel_columns, sizeof(T), threads);
  const std::int64_t block_size = std::int64_t{block_columns} * kernels.panel_columns;
  const std::int64_t span = std::min(ceil_div(rows, group_rows) * group_rows, span_rows);
  const std::int64_t panel_sums = span * kernels.panel_columns, group_sums = group_rows * kernels.panel_columns;
  std::vector<ThreadMemory<T>> memory;
  for (int t = 0; t < threads; ++t)
    memory.push_back({Buffer<T>(static_cast<std::size_t>(cut.panels_per_task * block_size)),
                      Buffer<T>(static_cast<std::size_t>(cut.panels_per_task * panel_sums))});
  parallel_for(cut.tasks(), threads, [&](std::int64_t task, int thread) {
    T *packed = memory[thread].panels.get(), *tile = memory[thread].tile.get();
    const std::int64_t row0 = task % cut.spans * span_rows, task_rows = std::min(span_rows, rows - row0);
    const std::int64_t panel0 = task / cut.spans * cut.panels_per_task;
    const std::int64_t panels = std::min(cut.panels_per_task, cut.panels - panel0);
    const std::int64_t groups = ceil_div(task_rows, group_rows);
    if (!columns.width) std::fill_n(tile, panels * panel_sums, T(0));
    for (std::int64_t k0 = 0; k0 < columns.width; k0 += block_columns) {
      const std::int64_t width = std::min<std::int64_t>(block_columns, columns.width - k0);
      for (std::int64_t p = 0; p < panels; ++p)
        kernels.pack_panel(columns, (panel0 + p) * kernels.panel_columns, k0, width, packed + p * block_size);
      for (std::int64_t chunk = 0; chunk < groups; chunk += chunk_rows / group_rows)
        for (std::int64_t p = 0; p < panels; ++p)
          for (std::int64_t g = chunk; g < std::min(groups, chunk + chunk_rows / group_rows); ++g)
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
void masked_matmul(const MaskedProduct<T>& product, int threads) {
  const ProductKernels<T>& kernel = product_kernels<T>(kernels());
  const std::int64_t rows = product.left.rows, groups = ceil_div(rows, group_rows);
  if (!rows || !product.columns.rows) return;
  if (rows == 1 && !product.columns.transposed && !product.columns.gates.bits)
    return multiply_row(product, kernel, threads);
  advise_huge_pages(product.out, static_cast<std::size_t>(rows * product.out_stride) * sizeof(T));
  const RowStore<T> packed(product.left, kernel, groups);
  parallel_for(ceil_div(groups, chunk_groups), threads, [&](std::int64_t chunk, int) {
    packed.pack(chunk * chunk_groups, chunk * chunk_groups * group_rows, product.plan);
  });
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

template <class T>
void ordered_linear(const RowsView<T>& x, const RowsView<T>& weight, bool relu, T* out, std::int64_t out_stride,
                    int threads) {
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
          T* row = out + (extent.row0 + r) * out_stride + extent.column0;
          const T* from = sums + r * kernel.panel_columns;
          for (std::int64_t c = 0; c < extent.columns; ++c) row[c] = relu && from[c] <= 0 ? T(0) : from[c];
        }
      });
}

void build_plan(const GateView& gates, bool transposed, std::int64_t rows, std::int64_t columns, PlanBlock* plan,
                int threads) {
  const BitKernels& kernel = kernels().bits;
  const std::int64_t blocks = ceil_div(columns, block_columns);
  const std::int64_t groups = ceil_div(rows, group_rows);
  parallel_for(ceil_div(groups, chunk_groups), threads, [&](std::int64_t chunk, int) {
    const std::int64_t group = chunk * chunk_groups;
    for (std::int64_t b = 0; b < blocks; ++b)
      kernel.plan_chunk(gates, transposed, rows, group * group_rows,
                        std::min<std::int64_t>(chunk_groups, groups - group), b * block_columns,
                        std::min<std::int64_t>(block_columns, columns - b * block_columns), plan + group * blocks + b,
                        blocks);
  });
}

template void masked_matmul(const MaskedProduct<float>&, int);
template void masked_matmul(const MaskedProduct<double>&, int);
template void ordered_linear(const RowsView<float>&, const RowsView<float>&, bool, float*, std::int64_t, int);
template void ordered_linear(const RowsView<double>&, const RowsView<double>&, bool, double*, std::int64_t, int);

}  // namespace gatentk
