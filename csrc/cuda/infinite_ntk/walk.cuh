// How a block walks through its tile, and a walk along the layers through the wanted depths.
#pragma once

#include "cuda/infinite_ntk/products.cuh"
#include "cuda/infinite_ntk/strip.cuh"
#include "cuda/tile/order.cuh"

namespace gatentk::cuda {

// The wanted depths, one after the other.
class DepthCursor {
 public:
  __device__ __forceinline__ explicit DepthCursor(const Depths& depths) : depths_(depths), wanted_(depths.depth[0]) {}

  __device__ __forceinline__ bool reached(int depth) const { return depth == wanted_; }

  // The output of the depth that was reached.
  __device__ __forceinline__ int next() {
    if (next_ + 1 < depths_.count) wanted_ = depths_.depth[next_ + 1];
    return next_++;
  }

  __device__ __forceinline__ int last() const { return depths_.depth[depths_.count - 1]; }

 private:
  const Depths& depths_;
  int wanted_, next_ = 0;
};

// Calls compute(PairStrip) for every strip of the block's tile that has a pair to compute.
template <class T, int side, class Compute>
__device__ __forceinline__ void for_each_strip(const PairArguments<T>& a, Compute&& compute) {
  using L = Layout<T, side>;
  SharedArena arena;
  const Shared<T> memory = arena.take<T>(L::shared_size);
  const int2 tile = tile_of_block(a.symmetric, (a.z.rows + side - 1) / side);
  multiply_tile<T, side>(a, tile.x * side, tile.y * side, memory);
  constexpr int strips_across = side / 32, strips = side / strip * strips_across;
#pragma unroll 1
  for (int s = threadIdx.x / 32; s < strips; s += L::threads / 32) {
    const int r = s / strips_across * strip, c = s % strips_across * 32;
    const int row0 = tile.x * side + r, column0 = tile.y * side + c;
    if (PairStrip<T, side>::wanted(a, row0, column0))
      compute(PairStrip<T, side>(a, memory.from(r * L::tile_pitch + c), row0, column0));
  }
}

}  // namespace gatentk::cuda
