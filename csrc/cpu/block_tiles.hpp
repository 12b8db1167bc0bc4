// Activations with gates of blocks, cut into tiles of neurons: which samples are on in each, and where its values lie.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/packed.hpp"
#include "cpu/workspace.hpp"
#include "gatentk/blocks.hpp"

namespace gatentk::cpu {

// Neurons first..first + extent of the units unit..unit + units: part of a unit, one, or several small ones.
struct TileExtent {
  std::int64_t first, extent;
  std::int64_t unit, units;
};

// Which samples are on in each tile: in one of its units.
class TileGates {
 public:
  // Tiles of at most `largest` neurons; of small blocks several share one where vectors have `lanes` elements.
  template <class T>
  TileGates(const BlockView<T>& view, std::int64_t largest, int lanes);

  std::int64_t count() const { return static_cast<std::int64_t>(extents_.size()); }
  std::int64_t words() const { return words_; }
  const TileExtent& operator[](std::int64_t tile) const { return extents_[static_cast<std::size_t>(tile)]; }
  const std::uint64_t* bits(std::int64_t tile) const { return bits_.data() + tile * words_; }
  std::uint64_t* bits(std::int64_t tile) { return bits_.data() + tile * words_; }
  bool on(std::int64_t tile, std::int64_t row) const { return bits(tile)[row / 64] >> (row % 64) & 1; }

 private:
  std::vector<TileExtent> extents_;
  std::int64_t words_;
  std::vector<std::uint64_t> bits_;
};

// A factor in tiles. Rows of a tile lie `stride` apart, where they are if that is near enough, else copied. Without
// gates what is zero in a whole tile of a sample counts as off.
template <class T>
class TiledFactor {
 public:
  // Rows are read in whole vectors of `lanes` elements if they are `padded`.
  TiledFactor(const BlockView<const T>& view, std::int64_t largest, int lanes, bool padded, int threads);

  const TileGates& gates() const { return gates_; }
  std::int64_t stride() const { return stride_; }
  const T* tile(std::int64_t tile) const;

 private:
  void copy(std::int64_t tile, std::int64_t first, std::int64_t rows);
  void find_zeros(std::int64_t tile, std::int64_t first, std::int64_t rows);

  BlockView<const T> view_;
  TileGates gates_;
  bool copied_;
  std::int64_t stride_;
  Buffer<T> values_;
};

// Whether tiles of the view lie in rows that are so near to each other that they need not be copied: far ones would
// compete for the same lines of the cache.
template <class T>
bool rows_are_near(const BlockView<T>& view, const TileGates& gates);

inline bool is_on(const GateView& unit_major, std::int64_t unit, std::int64_t row) {
  return !unit_major.bits || (unit_major.bits[unit * unit_major.stride + row / 8] >> (row % 8) & 1);
}

}  // namespace gatentk::cpu
