// The main loop that Gram matrices and ordered products share: tiles of two factors, both with k along their rows, pass
// through shared memory and are multiplied by the arithmetic of a configuration.
#pragma once

#include "cuda/tile/copy.cuh"
#include "cuda/tile/multiply.cuh"
#include "cuda/tile/pipeline.cuh"
#include "cuda/tile/sums.cuh"

namespace gatentk::cuda {

// The copies of both factors' tiles, the right factor's rows behind the left one's in a stage.
template <class Tile>
class FactorCopies {
 public:
  using T = typename Tile::Element;

  __device__ __forceinline__ FactorCopies(const Operand<T>& left, int row0, const Operand<T>& right, int column0)
      : left_(left, row0), right_(right, column0), tiles_((left.width + Tile::depth - 1) / Tile::depth) {}

  __device__ __forceinline__ int tiles() const { return tiles_; }
  __device__ __forceinline__ bool more() const { return copied_ < tiles_; }

  __device__ __forceinline__ void start(Shared<T> stage) {
    left_.issue(copied_, stage);
    right_.issue(copied_, right_of(stage));
    ++copied_;
  }

  // The right factor's part of a stage.
  static __device__ __forceinline__ Shared<T> right_of(Shared<T> stage) { return stage.from(Tile::rows * Tile::depth); }

 private:
  TileCopy<Tile, Tile::rows> left_;
  TileCopy<Tile, Tile::columns> right_;
  int tiles_, copied_ = 0;
};

// Adds the product of rows row0.. of `left` and rows column0.. of `right` to `sums`; calls flush(first, last), which
// may take them away, after every flush_tiles tiles and after the last one. `stages` holds stages * stage_elements
// elements; all threads of the block take part.
template <class Tile, class Flush>
__device__ __forceinline__ void multiply_tiles(const Operand<typename Tile::Element>& left, int row0,
                                               const Operand<typename Tile::Element>& right, int column0,
                                               Shared<typename Tile::Element> stages, Sums<Tile>& sums, Flush&& flush) {
  using Copies = FactorCopies<Tile>;
  Copies copies(left, row0, right, column0);
  const Multiplier<Tile> multiply;
  run_pipeline<Tile::stages, Tile::stage_elements>(stages, copies, [&](Shared<typename Tile::Element> stage, int i) {
    if (i < copies.tiles()) multiply(stage, Copies::right_of(stage), sums);
    const bool last = i + 1 >= copies.tiles();
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
