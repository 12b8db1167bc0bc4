#include "cpu/blocks.hpp"

#include <algorithm>
#include <cstring>

#include "cpu/block_tiles.hpp"
#include "cpu/few_rows.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/parallel.hpp"

namespace gatentk::cpu {

namespace {

// A tile of the weight of this size fills a part of L1, beside rows of the factor and sums.
constexpr std::int64_t tile_depth = 64, tile_bytes = 256;

// Samples whose sums are held at once, and tiles of the result that share what is read of the factor: all of it lies in
// L2 while a tile of the weight after the other comes by.
constexpr std::int64_t chunk_rows = 512, group_bytes = 1024;

std::int64_t chunk_of(std::int64_t rows) {
  const std::int64_t chunks = std::max<std::int64_t>(1, (rows + chunk_rows / 2) / chunk_rows);
  return std::max<std::int64_t>(1, ceil_div(ceil_div(rows, chunks), 64)) * 64;
}

// Rows first..first + rows of a tile of the result, from sums or where they are summed already.
template <class T>
class Output {
 public:
  Output(const BlockView<T>& view, int lanes)
      : view_(view),
        gates_(view, tile_bytes / static_cast<std::int64_t>(sizeof(T)), lanes),
        in_place_(rows_are_near(view, gates_)),
        stride_(view.row_stride) {
    std::int64_t widest = 0;
    for (std::int64_t t = 0; t < gates_.count(); ++t) {
      widest = std::max(widest, gates_[t].extent);
      in_place_ &= gates_[t].extent % lanes == 0;
    }
    if (!in_place_) stride_ = ceil_div(widest, lanes) * lanes;
  }

  const TileGates& gates() const { return gates_; }
  std::int64_t stride() const { return stride_; }
  std::int64_t buffer(std::int64_t rows) const { return in_place_ ? 0 : rows * stride_; }

  // Sums that are zero where the tile is on; rows that are off of sums in place are, too.
  T* start(std::int64_t tile, std::int64_t first, std::int64_t rows, T* buffer) const {
    if (in_place_) {
      const TileExtent& extent = gates_[tile];
      const bool last = view_.padded && extent.first + extent.extent == view_.width;
      const std::int64_t end = last ? (extent.unit + 1) * view_.block : extent.first + extent.extent;
      for (std::int64_t i = first; i < first + rows; ++i)
        std::memset(at(tile, i), 0, static_cast<std::size_t>(end - extent.first) * sizeof(T));
      return at(tile, first);
    }
    for (std::int64_t i = 0; i < rows; ++i)
      if (gates_.on(tile, first + i))
        std::memset(buffer + i * stride_, 0, static_cast<std::size_t>(stride_) * sizeof(T));
    return buffer;
  }

  void write(std::int64_t tile, std::int64_t first, std::int64_t rows, const T* sums) const {
    if (in_place_) return;
    for (std::int64_t i = 0; i < rows; ++i) write_row(tile, first + i, sums + i * stride_);
  }

  void write_row(std::int64_t tile, std::int64_t row, const T* sums) const {
    const TileExtent& extent = gates_[tile];
    const std::int64_t end = extent.first + extent.extent;
    for (std::int64_t u = extent.unit; u < extent.unit + extent.units; ++u) {
      const std::int64_t from = std::max(u * view_.block, extent.first), last = std::min((u + 1) * view_.block, end);
      const std::size_t bytes = static_cast<std::size_t>(last - from) * sizeof(T);
      T* to = view_.data + u * view_.unit_stride + row * view_.row_stride + from - u * view_.block;
      if (is_on(view_.unit_major, u, row))
        std::memcpy(to, sums + from - extent.first, bytes);
      else
        std::memset(to, 0, bytes);
      if (view_.padded && last == view_.width) std::fill(to + last - from, to + (u + 1) * view_.block - from, T(0));
    }
  }

 private:
  T* at(std::int64_t tile, std::int64_t row) const {
    const TileExtent& extent = gates_[tile];
    return view_.data + extent.unit * view_.unit_stride + row * view_.row_stride + extent.first -
           extent.unit * view_.block;
  }

  BlockView<T> view_;
  TileGates gates_;
  bool in_place_;
  std::int64_t stride_;
};

// The tile of the weight that leads from tile `in` of the factor to tile `out` of the result.
template <class T>
const T* weight_tile(const BlockProduct<T>& product, const TileExtent& in, const TileExtent& out) {
  const TileExtent &row = product.transposed ? in : out, &column = product.transposed ? out : in;
  return product.weight + row.first * product.weight_stride + column.first;
}

// That tile in memory, and rows first..first + rows of the factor that are on.
template <class T>
Needs needs_of(const BlockProduct<T>& product, const TiledFactor<T>& factor, std::int64_t in, const TileExtent& out,
               std::int64_t first, std::int64_t rows) {
  const TileExtent& from = factor.gates()[in];
  const TileExtent &row = product.transposed ? from : out, &column = product.transposed ? out : from;
  const std::int64_t size = sizeof(T);
  return {{weight_tile(product, from, out), product.weight_stride * size, 0, row.extent, column.extent * size, nullptr},
          {factor.tile(in), factor.stride() * size, first, rows, from.extent * size, factor.gates().bits(in)}};
}

// What a thread works with.
template <class T>
struct Workspace {
  Buffer<T> sums, tile;
  Buffer<std::int32_t> ids;
};

// Rows first..first + rows of `group` tiles of the result from tile0 on.
template <class T>
void multiply_group(const BlockProduct<T>& product, const BlockKernels<T>& kernel, const TiledFactor<T>& factor,
                    const Output<T>& output, std::int64_t tile0, std::int64_t group, std::int64_t first,
                    std::int64_t rows, const Workspace<T>& work) {
  const TileGates &in = factor.gates(), &out = output.gates();
  const std::int64_t word = first / 64, words = ceil_div(rows, 64), room = output.buffer(rows);
  std::vector<T*> sums;
  for (std::int64_t b = 0; b < group; ++b)
    sums.push_back(output.start(tile0 + b, first, rows, work.sums.get() + b * room));
  for (std::int64_t a = 0; a < in.count(); ++a)
    for (std::int64_t b = 0; b < group; ++b) {
      const TileExtent &from = in[a], &to = out[tile0 + b];
      const std::int64_t count =
          kernel.list_common(in.bits(a) + word, out.bits(tile0 + b) + word, words, work.ids.get());
      if (!count) continue;
      const std::int64_t columns = ceil_div(to.extent, kernel.lanes) * kernel.lanes;
      BlockTile<T> tile{factor.tile(a) + first * factor.stride(),
                        factor.stride(),
                        weight_tile(product, from, to),
                        product.weight_stride,
                        from.extent,
                        columns,
                        sums[static_cast<std::size_t>(b)],
                        output.stride()};
      // A few rows take the weight as it lies.
      if (!product.transposed || count > 2 || columns != to.extent) {
        kernel.pack_tile(tile.weight, product.weight_stride, !product.transposed, from.extent, to.extent,
                         work.tile.get());
        tile.weight = work.tile.get();
        tile.weight_stride = columns;
      }
      Needs needs;
      if (a + 1 < in.count()) {
        const std::int64_t from_row = rows * b / group, to_row = rows * (b + 1) / group;
        needs = needs_of(product, factor, a + 1, to, first + from_row, to_row - from_row);
      }
      kernel.multiply_tile(tile, work.ids.get(), count, needs);
    }
  for (std::int64_t b = 0; b < group; ++b) output.write(tile0 + b, first, rows, sums[static_cast<std::size_t>(b)]);
}

// Neurons first..first + extent behind those of the segments.
void append(std::vector<Segment>& segments, std::int64_t first, std::int64_t extent) {
  if (!segments.empty() && segments.back().first + segments.back().count == first)
    segments.back().count += extent;
  else
    segments.push_back({first, extent});
}

// Each sample on its own: dot products with the parts of the weight's rows whose neurons are on.
template <class T>
void multiply_few(const BlockProduct<T>& product, const BlockKernels<T>& kernel, const Output<T>& output, int threads) {
  const BlockView<const T>& z = product.z;
  std::vector<std::vector<Segment>> segments(static_cast<std::size_t>(z.rows));
  const Buffer<T> values(static_cast<std::size_t>(z.rows * z.width));
  for (std::int64_t i = 0; i < z.rows; ++i)
    for (std::int64_t u = 0; u < z.units(); ++u) {
      const std::int64_t first = u * z.block, extent = std::min(z.block, z.width - first);
      const T* from = z.data + u * z.unit_stride + i * z.row_stride;
      if (!is_on(z.unit_major, u, i)) continue;
      if (!z.unit_major.bits && std::all_of(from, from + extent, [](T value) { return value == 0; })) continue;
      std::memcpy(values.get() + i * z.width + first, from, static_cast<std::size_t>(extent) * sizeof(T));
      append(segments[static_cast<std::size_t>(i)], first, extent);
    }
  const TileGates& out = output.gates();
  parallel_for(out.count() * z.rows, threads, [&](std::int64_t task, int) {
    const std::int64_t tile = task / z.rows, i = task % z.rows;
    T sums[2 * tile_bytes / sizeof(T)] = {};
    if (out.on(tile, i)) {
      const std::vector<Segment>& known = segments[static_cast<std::size_t>(i)];
      kernel.dot_segments(values.get() + i * z.width, known.data(), static_cast<std::int64_t>(known.size()),
                          product.weight + out[tile].first * product.weight_stride, product.weight_stride,
                          out[tile].extent, sums);
    }
    output.write_row(tile, i, sums);
  });
}

// Neurons of a sample that are summed up: of short blocks all, as a memory gives whole lines and more.
template <class T>
std::vector<Segment> needed_segments(const BlockView<T>& view, std::int64_t i) {
  constexpr std::int64_t shortest_bytes = 256;
  if (view.block * static_cast<std::int64_t>(sizeof(T)) < shortest_bytes) return {{0, view.width}};
  std::vector<Segment> segments;
  for (std::int64_t u = 0; u < view.units(); ++u) {
    const std::int64_t first = u * view.block;
    if (is_on(view.unit_major, u, i)) append(segments, first, std::min(view.block, view.width - first));
  }
  return segments;
}

// The same of the transposed weight: its rows whose neurons are on are added up, where the result is on.
template <class T>
void add_up_few(const BlockProduct<T>& product, int threads) {
  const BlockView<const T>& z = product.z;
  const BlockView<T>& out = product.out;
  const Buffer<T> sums(static_cast<std::size_t>(z.rows * out.width));
  for (std::int64_t i = 0; i < z.rows; ++i) {
    WeightedRows<T> weighted;
    for (std::int64_t u = 0; u < z.units(); ++u) {
      if (!is_on(z.unit_major, u, i)) continue;
      const T* from = z.data + u * z.unit_stride + i * z.row_stride;
      for (std::int64_t j = u * z.block; j < std::min((u + 1) * z.block, z.width); ++j)
        if (from[j - u * z.block] != 0) weighted.add(product.weight + j * product.weight_stride, from[j - u * z.block]);
    }
    sum_rows<T>(weighted, needed_segments(out, i), nullptr, out.width, sums.get() + i * out.width, threads);
  }
  copy_blocks<T>({sums.get(), z.rows, out.width, out.block, out.block, out.width}, out, threads);
}

}  // namespace

template <class T>
void block_product(const BlockProduct<T>& product, int threads) {
  const BlockKernels<T>& kernel = block_kernels<T>(kernels());
  const std::int64_t rows = product.z.rows, size = sizeof(T);
  if (!rows || !product.out.width) return;
  if (rows <= few_rows && product.transposed) return add_up_few(product, threads);
  const Output<T> output(product.out, kernel.lanes);
  if (rows <= few_rows) return multiply_few(product, kernel, output, threads);
  const TiledFactor<T> factor(product.z, tile_depth, kernel.lanes, false, threads);
  const TileGates& out = output.gates();
  const std::int64_t chunk = chunk_of(rows), chunks = ceil_div(rows, chunk);
  const std::int64_t most = std::max<std::int64_t>(1, group_bytes / (size * out[0].extent));
  const std::int64_t group = std::clamp<std::int64_t>(out.count() * chunks / (4 * threads), 1, most);
  const std::int64_t groups = ceil_div(out.count(), group);
  std::vector<Workspace<T>> work;
  for (int thread = 0; thread < threads; ++thread)
    work.push_back({Buffer<T>(static_cast<std::size_t>(group * output.buffer(chunk))),
                    Buffer<T>(static_cast<std::size_t>(tile_depth * 2 * tile_bytes / size)),
                    Buffer<std::int32_t>(static_cast<std::size_t>(chunk + 16))});
  parallel_for(groups * chunks, threads, [&](std::int64_t task, int thread) {
    const std::int64_t tile0 = task / chunks * group, first = task % chunks * chunk;
    multiply_group(product, kernel, factor, output, tile0, std::min(group, out.count() - tile0), first,
                   std::min(chunk, rows - first), work[static_cast<std::size_t>(thread)]);
  });
}

template void block_product(const BlockProduct<float>&, int);
template void block_product(const BlockProduct<double>&, int);

}  // namespace gatentk::cpu
