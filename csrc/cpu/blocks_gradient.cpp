#include <algorithm>
#include <cstring>

#include "cpu/block_tiles.hpp"
#include "cpu/blocks.hpp"
#include "cpu/few_rows.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/parallel.hpp"

namespace gatentk::cpu {

namespace {

// A tile of the gradient, and how much of it a task takes on each side: sums and samples of a chunk lie in L2.
constexpr std::int64_t tile_rows = 64, tile_bytes = 256, group_rows_of_gradient = 256, group_bytes = 1024;
constexpr std::int64_t chunk_rows = 512;

struct Range {
  std::int64_t first, count;
  std::int64_t end() const { return first + count; }
};

// A share of the rows of a tile that are on, of samples first..first + rows: part `part` of `parts`.
template <class T>
Ahead share_of(const TiledFactor<T>& factor, std::int64_t tile, std::int64_t first, std::int64_t rows,
               std::int64_t part, std::int64_t parts) {
  const std::int64_t from = rows * part / parts, to = rows * (part + 1) / parts, size = sizeof(T);
  return {factor.tile(tile),        factor.stride() * size, first + from, to - from, factor.gates()[tile].extent * size,
          factor.gates().bits(tile)};
}

// Tiles rows x columns of the gradient. Their sums lie one behind the other, each in room for a whole one.
template <class T>
void add_up(const BlockKernels<T>& kernel, const TiledFactor<T>& left, const TiledFactor<T>& right, Range rows,
            Range columns, std::int64_t samples, T* sums, std::int64_t room, std::int32_t* ids) {
  const TileGates &above = left.gates(), &beside = right.gates();
  std::memset(sums, 0, static_cast<std::size_t>(rows.count * columns.count * room) * sizeof(T));
  for (std::int64_t first = 0; first < samples; first += chunk_rows) {
    const std::int64_t chunk = std::min(chunk_rows, samples - first), words = ceil_div(chunk, 64);
    for (std::int64_t a = rows.first; a < rows.end(); ++a)
      for (std::int64_t b = columns.first; b < columns.end(); ++b, sums += room) {
        const std::int64_t count =
            kernel.list_common(above.bits(a) + first / 64, beside.bits(b) + first / 64, words, ids);
        if (!count) continue;
        // What comes next and was not used yet: a tile on the right in the first row, one on the left in each row, and
        // at the end what the group beside this one begins with.
        Needs needs;
        if (a == rows.first && b + 1 < columns.end()) needs.first = share_of(right, b + 1, first, chunk, 0, 1);
        if (a + 1 < rows.end())
          needs.second = share_of(left, a + 1, first, chunk, b - columns.first, columns.count);
        else if (columns.end() < beside.count() && first + chunk == samples)
          needs.second =
              share_of(right, columns.end(), 0, std::min(chunk_rows, samples), b - columns.first, columns.count);
        const std::int64_t padded = ceil_div(beside[b].extent, kernel.lanes) * kernel.lanes;
        kernel.add_products({left.tile(a) + first * left.stride(), left.stride(),
                             right.tile(b) + first * right.stride(), right.stride(), above[a].extent, padded, sums},
                            ids, count, needs);
      }
    sums -= rows.count * columns.count * room;
  }
}

template <class T>
void write(const BlockWeightGradient<T>& gradient, const TileGates& above, const TileGates& beside, Range rows,
           Range columns, const T* sums, std::int64_t room, int lanes) {
  for (std::int64_t r = 0; r < rows.count; ++r)
    for (std::int64_t i = 0; i < above[rows.first + r].extent; ++i) {
      T* row = gradient.out + (above[rows.first + r].first + i) * gradient.out_stride;
      for (std::int64_t c = 0; c < columns.count; ++c) {
        const TileExtent& tile = beside[columns.first + c];
        const std::int64_t padded = ceil_div(tile.extent, lanes) * lanes;
        std::memcpy(row + tile.first, sums + (r * columns.count + c) * room + i * padded,
                    static_cast<std::size_t>(tile.extent) * sizeof(T));
      }
    }
}

std::int64_t widest(const TileGates& gates) {
  std::int64_t extent = 1;
  for (std::int64_t t = 0; t < gates.count(); ++t) extent = std::max(extent, gates[t].extent);
  return extent;
}

// Rows (n, width) with zeros where they are off.
template <class T>
Buffer<T> masked_rows(const BlockView<const T>& view, int threads) {
  Buffer<T> values(static_cast<std::size_t>(view.rows * view.width));
  copy_blocks(view, {values.get(), view.rows, view.width, view.block, view.block, view.width, false, view.unit_major},
              threads);
  return values;
}

}  // namespace

template <class T>
void block_weight_gradient(const BlockWeightGradient<T>& gradient, int threads) {
  const BlockKernels<T>& kernel = block_kernels<T>(kernels());
  const std::int64_t size = sizeof(T), samples = gradient.left.rows;
  if (!gradient.left.width || !gradient.right.width) return;
  if (samples <= most_outer_products) {
    const Buffer<T> left = masked_rows(gradient.left, threads), right = masked_rows(gradient.right, threads);
    return add_outer_products<T>({left.get(), gradient.left.width, right.get(), gradient.right.width, samples,
                                  gradient.left.width, gradient.right.width, gradient.out, gradient.out_stride},
                                 threads);
  }
  advise_huge_pages(gradient.out, static_cast<std::size_t>(gradient.left.width * gradient.out_stride * size));
  const TiledFactor<T> left(gradient.left, tile_rows, kernel.lanes, false, threads);
  const TiledFactor<T> right(gradient.right, tile_bytes / size, kernel.lanes, true, threads);
  const std::int64_t above = left.gates().count(), beside = right.gates().count();
  const std::int64_t high = widest(left.gates()), wide = ceil_div(widest(right.gates()), kernel.lanes) * kernel.lanes;
  const std::int64_t rows = std::max<std::int64_t>(1, group_rows_of_gradient / high);
  const std::int64_t columns = std::max<std::int64_t>(1, group_bytes / (size * wide));
  const std::int64_t bands = ceil_div(above, rows), spans = ceil_div(beside, columns), room = high * wide;
  std::vector<Buffer<T>> sums;
  std::vector<Buffer<std::int32_t>> ids;
  for (int thread = 0; thread < threads; ++thread) {
    sums.push_back(Buffer<T>(static_cast<std::size_t>(std::min(rows, above) * std::min(columns, beside) * room)));
    ids.push_back(Buffer<std::int32_t>(chunk_rows + 16));
  }
  // A task takes several groups side by side: what is on the left of them stays in the cache.
  const std::int64_t pieces = std::min(spans, ceil_div(8 * threads, bands)), length = ceil_div(spans, pieces);
  parallel_for(bands * pieces, threads, [&](std::int64_t task, int thread) {
    const Range r{task / pieces * rows, std::min(rows, above - task / pieces * rows)};
    T* own = sums[static_cast<std::size_t>(thread)].get();
    const std::int64_t first = task % pieces * length;
    for (std::int64_t span = first; span < std::min(first + length, spans); ++span) {
      const Range c{span * columns, std::min(columns, beside - span * columns)};
      add_up(kernel, left, right, r, c, samples, own, room, ids[static_cast<std::size_t>(thread)].get());
      write(gradient, left.gates(), right.gates(), r, c, own, room, kernel.lanes);
    }
  });
}

template void block_weight_gradient(const BlockWeightGradient<float>&, int);
template void block_weight_gradient(const BlockWeightGradient<double>&, int);

}  // namespace gatentk::cpu
