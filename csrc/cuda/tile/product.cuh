// The main loop that the matrix products share: tiles of two masked factors, both with k along their rows, pass through
// shared memory and are multiplied by the arithmetic of a configuration.
#pragma once

#include "cuda/tile/active.cuh"
#include "cuda/tile/copy.cuh"
#include "cuda/tile/multiply.cuh"
#include "cuda/tile/sums.cuh"

namespace gatentk::cuda {

// Adds the product of rows row0.. of `left` and rows column0.. of `right` to `sums`; calls flush(end), which may take
// them away, after every flush_tiles tiles and, with end = true, after the last one. `stages` holds stages *
// stage_elements elements, `bits` max_searched_tiles bits; all threads of the block take part.
template <class Tile, class Flush>
__device__ __forceinline__ void multiply_tiles(const Operand<typename Tile::Element>& left, int row0,
                                               const Operand<typename Tile::Element>& right, int column0,
                                               Shared<typename Tile::Element> stages, Shared<unsigned> bits,
                                               Sums<Tile>& sums, Flush&& flush) {
  using T = typename Tile::Element;
  constexpr bool masks_in_place = sizeof(T) == 2;
  constexpr int right_at = Tile::rows * Tile::depth;
  const ActiveTiles active = find_active_tiles<Tile>(left, row0, right, column0, stages.template as<unsigned>(), bits);
  TileCopy<Tile, Tile::rows> copy_left(left, row0);
  TileCopy<Tile, Tile::columns> copy_right(right, column0);
  const Multiplier<Tile> multiply;

  int copied = active.from(0), masked = 0, stage_at = 0;
  // Round i multiplies the i-th active tile, from stage i mod stages, and starts the copies that come stages - 1 rounds
  // later, to the stage of round i - 1. The first rounds only fill the pipeline, and the very first reads the gates of
  // the first tile: one loop, so that the copies are compiled once.
#pragma unroll 1
  for (int i = -Tile::stages;; ++i) {
    const Shared<T> stage = stages.from(stage_at * Tile::stage_elements);
    if (i >= 0) {
      wait_copies<Tile::stages - 2>();
      if constexpr (masks_in_place) copy_left.mask(stage), copy_right.mask(stage.from(right_at));
      // Tile i is complete, and all warps are done with the stage that is filled next.
      __syncthreads();
    }
    if (i > -Tile::stages) {
      if (copied < active.tiles()) {
        const Shared<T> next = stages.from((stage_at == 0 ? Tile::stages - 1 : stage_at - 1) * Tile::stage_elements);
        copy_left.issue(copied, next);
        copy_right.issue(copied, next.from(right_at));
        copied = active.from(copied + 1);
      }
      commit_copies();
    }
    stage_at = stage_at + 1 == Tile::stages ? 0 : stage_at + 1;
    if (copied < active.tiles()) copy_left.load_gates(copied), copy_right.load_gates(copied);
    if constexpr (masks_in_place) {
      if (i >= -1) {
        masked = active.from(i < 0 ? 0 : masked + 1);
        if (masked < active.tiles()) copy_left.load_mask(masked), copy_right.load_mask(masked);
      }
    }
    if (i < 0) continue;
    if (i < active.count()) multiply(stage, stage.from(right_at), sums);
    const bool last = i + 1 >= active.count();
    if constexpr (Tile::flush_tiles == 0) {
      if (last) flush(true, true);
    } else {
      if (last || (i + 1) % Tile::flush_tiles == 0) flush(i < Tile::flush_tiles, last);
    }
    if (last) break;
  }
  wait_copies<0>();
  __syncthreads();
}

}  // namespace gatentk::cuda
