#include <algorithm>
#include <cstring>

#include "cpu/block_tiles.hpp"
#include "cpu/blocks.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/parallel.hpp"

namespace gatentk::cpu {

namespace {

// A tile of the gradient, and how much of it a task takes on each side: sums and samples of a chunk lie in L2.
constexpr std::int64_t tile_rows = 64, tile_bytes = 256, group_rows_of_gradient = 256, group_bytes = 1024;
constexpr std::int64_t chunk_rows = 512;

struct Range {
  std::int64_t first, count;
};

// Tiles rows x columns of the gradient. Their sums lie one behind the other, each in room for a whole one.
template <class T>
void add_up(const BlockKernels<T>& kernel, const TiledFactor<T>& left, const TiledFactor<T>& right, Range rows,
            Range columns, std::int64_t samples, T* sums, std::int64_t room, std::int32_t* ids) {
  const TileGates &above = left.gates(), &beside = right.gates();
  std::memset(sums, 0, static_cast<std::size_t>(rows.count * columns.count * room) * sizeof(T));
  for (std::int64_t first = 0; first < samples; first += chunk_rows) {
    const std::int64_t words = ceil_div(std::min(chunk_rows, samples - first), 64);
    for (std::int64_t r = 0; r < rows.count; ++r)
      for (std::int64_t c = 0; c < columns.count; ++c) {
        const std::int64_t a = rows.first + r, b = columns.first + c;
        const std::int64_t count =
            kernel.list_common(above.bits(a) + first / 64, beside.bits(b) + first / 64, words, ids);
        if (!count) continue;
        const std::int64_t padded = ceil_div(beside[b].extent, kernel.lanes) * kernel.lanes;
        kernel.add_products(
            {left.tile(a) + first * left.stride(), left.stride(), right.tile(b) + first * right.stride(),
             right.stride(), above[a].extent, padded, sums + (r * columns.count + c) * room},
            ids, count);
      }
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

}  // namespace

template <class T>
void block_weight_gradient(const BlockWeightGradient<T>& gradient, int threads) {
  const BlockKernels<T>& kernel = block_kernels<T>(kernels());
  const std::int64_t size = sizeof(T), samples = gradient.left.rows;
  if (!gradient.left.width || !gradient.right.width) return;
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
  parallel_for(bands * spans, threads, [&](std::int64_t task, int thread) {
    const Range r{task / spans * rows, std::min(rows, above - task / spans * rows)};
    const Range c{task % spans * columns, std::min(columns, beside - task % spans * columns)};
    T* own = sums[static_cast<std::size_t>(thread)].get();
    add_up(kernel, left, right, r, c, samples, own, room, ids[static_cast<std::size_t>(thread)].get());
    write(gradient, left.gates(), right.gates(), r, c, own, room, kernel.lanes);
  });
}

template void block_weight_gradient(const BlockWeightGradient<float>&, int);
template void block_weight_gradient(const BlockWeightGradient<double>&, int);

}  // namespace gatentk::cpu
