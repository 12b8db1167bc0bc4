#include "cpu/block_tiles.hpp"

#include <algorithm>
#include <cstring>

#include "cpu/parallel.hpp"

namespace gatentk::cpu {

namespace {

// Units that share a tile: a vector that is not full wastes as much as one whose gate is off.
std::int64_t units_of_tile(std::int64_t block, std::int64_t largest, int lanes) {
  if (block >= 16 || (block >= 8 && lanes <= 8)) return 1;
  return block >= 8 ? 2 : std::max<std::int64_t>(1, largest / block);
}

constexpr std::int64_t near_bytes = 1024;

// Tiles and rows that a thread copies at once: lines and pages of both layouts are used while they are at hand.
constexpr std::int64_t tiles_of_task = 8, rows_of_task = 64;

}  // namespace

template <class T>
TileGates::TileGates(const BlockView<T>& view, std::int64_t largest, int lanes) : words_(ceil_div(view.rows, 64)) {
  const std::int64_t units = view.units(), together = units_of_tile(view.block, largest, lanes);
  for (std::int64_t unit = 0; unit < units; unit += together) {
    const std::int64_t last = std::min(unit + together, units);
    const std::int64_t first = unit * view.block, neurons = std::min(last * view.block, view.width) - first;
    const std::int64_t parts = together > 1 ? 1 : ceil_div(neurons, largest);
    // Parts of nearly equal size, all but the last of them whole vectors.
    const std::int64_t part = ceil_div(ceil_div(neurons, parts), lanes) * lanes;
    for (std::int64_t at = 0; at < neurons; at += parts == 1 ? neurons : part)
      extents_.push_back({first + at, parts == 1 ? neurons : std::min(part, neurons - at), unit, last - unit});
  }
  bits_.assign(static_cast<std::size_t>(count() * words_), 0);
  const std::uint64_t beyond = view.rows % 64 ? ~(~std::uint64_t{0} << (view.rows % 64)) : ~std::uint64_t{0};
  for (std::int64_t tile = 0; tile < count(); ++tile) {
    std::uint64_t* row = bits(tile);
    for (std::int64_t u = 0; u < (*this)[tile].units; ++u)
      for (std::int64_t w = 0; w < words_; ++w) {
        std::uint64_t word = ~std::uint64_t{0};
        if (view.unit_major.bits)
          std::memcpy(&word, view.unit_major.bits + ((*this)[tile].unit + u) * view.unit_major.stride + 8 * w, 8);
        row[w] |= word;
      }
    if (words_) row[words_ - 1] &= beyond;
  }
}

template <class T>
bool rows_are_near(const BlockView<T>& view, const TileGates& gates) {
  return view.row_stride * static_cast<std::int64_t>(sizeof(T)) <= near_bytes &&
         (!gates.count() || gates[0].units == 1);
}

template <class T>
TiledFactor<T>::TiledFactor(const BlockView<const T>& view, std::int64_t largest, int lanes, bool padded, int threads)
    : view_(view), gates_(view, largest, lanes), copied_(!rows_are_near(view, gates_)), stride_(view.row_stride) {
  std::int64_t widest = 0;
  bool ragged = false;
  for (std::int64_t t = 0; t < gates_.count(); ++t) {
    widest = std::max(widest, gates_[t].extent);
    ragged |= gates_[t].extent % lanes != 0;
  }
  copied_ |= padded && ragged;
  if (copied_) {
    stride_ = ceil_div(widest, lanes) * lanes;
    values_ = Buffer<T>(static_cast<std::size_t>(gates_.count() * view.rows * stride_));
  } else if (view.unit_major.bits) {
    return;
  }
  const std::int64_t bands = ceil_div(gates_.count(), tiles_of_task), spans = ceil_div(view.rows, rows_of_task);
  parallel_for(bands * spans, threads, [&](std::int64_t task, int) {
    const std::int64_t tile0 = task / spans * tiles_of_task, row0 = task % spans * rows_of_task;
    const std::int64_t rows = std::min(rows_of_task, view.rows - row0);
    for (std::int64_t t = tile0; t < std::min(tile0 + tiles_of_task, gates_.count()); ++t) {
      if (!view_.unit_major.bits) find_zeros(t, row0, rows);
      if (copied_) copy(t, row0, rows);
    }
  });
}

template <class T>
const T* TiledFactor<T>::tile(std::int64_t tile) const {
  if (copied_) return values_.get() + tile * view_.rows * stride_;
  const TileExtent& extent = gates_[tile];
  return view_.data + extent.unit * view_.unit_stride + extent.first - extent.unit * view_.block;
}

template <class T>
void TiledFactor<T>::find_zeros(std::int64_t tile, std::int64_t first, std::int64_t rows) {
  const TileExtent& extent = gates_[tile];
  const std::int64_t end = extent.first + extent.extent;
  std::uint64_t& word = gates_.bits(tile)[first / 64];
  word = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    bool some = false;
    for (std::int64_t u = extent.unit; u < extent.unit + extent.units && !some; ++u) {
      const T* row = view_.data + u * view_.unit_stride + (first + i) * view_.row_stride - u * view_.block;
      const std::int64_t last = std::min((u + 1) * view_.block, end);
      for (std::int64_t j = std::max(u * view_.block, extent.first); j < last && !some; ++j) some = row[j] != 0;
    }
    word |= std::uint64_t{some} << i;
  }
}

template <class T>
void TiledFactor<T>::copy(std::int64_t tile, std::int64_t first, std::int64_t rows) {
  const TileExtent& extent = gates_[tile];
  const std::int64_t end = extent.first + extent.extent;
  for (std::int64_t i = first; i < first + rows; ++i) {
    if (!gates_.on(tile, i)) continue;
    T* to = values_.get() + (tile * view_.rows + i) * stride_;
    std::fill(to + extent.extent, to + stride_, T(0));
    for (std::int64_t u = extent.unit; u < extent.unit + extent.units; ++u) {
      const std::int64_t from = std::max(u * view_.block, extent.first), last = std::min((u + 1) * view_.block, end);
      const std::size_t bytes = static_cast<std::size_t>(last - from) * sizeof(T);
      if (is_on(view_.unit_major, u, i))
        std::memcpy(to, view_.data + u * view_.unit_stride + i * view_.row_stride + from - u * view_.block, bytes);
      else
        std::memset(to, 0, bytes);
      to += last - from;
    }
  }
}

template TileGates::TileGates(const BlockView<const float>&, std::int64_t, int);
template TileGates::TileGates(const BlockView<const double>&, std::int64_t, int);
template TileGates::TileGates(const BlockView<float>&, std::int64_t, int);
template TileGates::TileGates(const BlockView<double>&, std::int64_t, int);
template bool rows_are_near(const BlockView<float>&, const TileGates&);
template bool rows_are_near(const BlockView<double>&, const TileGates&);
template class TiledFactor<float>;
template class TiledFactor<double>;

}  // namespace gatentk::cpu
