// The main loop that the matrix products share: tiles of two masked factors, both with k along their rows, pass through
// shared memory and are multiplied by the arithmetic of a configuration.
#pragma once

#include "cuda/tile/active.cuh"
#include "cuda/tile/copy.cuh"
#include "cuda/tile/multiply.cuh"
#include "cuda/tile/pipeline.cuh"
#include "cuda/tile/sums.cuh"

namespace gatentk::cuda {

// The copies of both factors' active tiles, the right factor's rows behind the left one's in a stage.
template <class Tile>
class FactorCopies {
 public:
  using T = typename Tile::Element;
  static constexpr bool gated = true;

  __device__ __forceinline__ FactorCopies(const Operand<T>& left, int row0, const Operand<T>& right, int column0,
                                          const ActiveTiles& active)
      : active_(active), left_(left, row0), right_(right, column0), copied_(active.from(0)) {}

  __device__ __forceinline__ bool more() const { return copied_ < active_.tiles(); }

  __device__ __forceinline__ void start(Shared<T> stage) {
    left_.issue(copied_, stage);
    right_.issue(copied_, right_of(stage));
    copied_ = active_.from(copied_ + 1);
  }

  __device__ __forceinline__ void prepare(int i) {
    if (more()) left_.load_gates(copied_), right_.load_gates(copied_);
    if constexpr (masks_in_place) {
      if (i >= -1) {
        masked_ = active_.from(i < 0 ? 0 : masked_ + 1);
        if (masked_ < active_.tiles()) left_.load_mask(masked_), right_.load_mask(masked_);
      }
    }
  }

  __device__ __forceinline__ void arrived(Shared<T> stage) const {
    if constexpr (masks_in_place) left_.mask(stage), right_.mask(right_of(stage));
  }

  // The right factor's part of a stage.
  static __device__ __forceinline__ Shared<T> right_of(Shared<T> stage) { return stage.from(Tile::rows * Tile::depth); }

 private:
  static constexpr bool masks_in_place = sizeof(T) == 2;

  const ActiveTiles& active_;
  TileCopy<Tile, Tile::rows> left_;
  TileCopy<Tile, Tile::columns> right_;
  int copied_, masked_ = 0;
};

// Adds the product of rows row0.. of `left` and rows column0.. of `right` to `sums`; calls flush(first, last), which
// may take them away, after every flush_tiles tiles and after the last one. `stages` holds stages * stage_elements
// elements, `bits` max_searched_tiles bits; all threads of the block take part.
template <class Tile, class Flush>
__device__ __forceinline__ void multiply_tiles(const Operand<typename Tile::Element>& left, int row0,
                                               const Operand<typename Tile::Element>& right, int column0,
                                               Shared<typename Tile::Element> stages, Shared<unsigned> bits,
                                               Sums<Tile>& sums, Flush&& flush) {
  using Copies = FactorCopies<Tile>;
  const ActiveTiles active = find_active_tiles<Tile>(left, row0, right, column0, stages.template as<unsigned>(), bits);
  Copies copies(left, row0, right, column0, active);
  const Multiplier<Tile> multiply;
  run_pipeline<Tile::stages, Tile::stage_elements>(stages, copies, [&](Shared<typename Tile::Element> stage, int i) {
    if (i < active.count()) multiply(stage, Copies::right_of(stage), sums);
    const bool last = i + 1 >= active.count();
    if constexpr (Tile::flush_tiles == 0) {
      if (last) flush(true, true);
    } else {
      if (last || (i + 1) % Tile::flush_tiles == 0) flush(i < Tile::flush_tiles, last);
    }
    return !last;
  });
  __syncthreads();
}

}  // namespace gatentk::cuda
