// Which k-tiles of a block hold a gate that is on.
#pragma once

#include <cstdint>

#include "cuda/device/lanes.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/tile/operand.hpp"
#include "cuda/tile/shape.cuh"

namespace gatentk::cuda {

// The k-tiles that hold a gate that is on, of both factors in a block; the others are not even copied.
class ActiveTiles {
 public:
  // Bit t of `bits`: whether tile t is active; with `all` they are not read.
  __device__ __forceinline__ ActiveTiles(int tiles, Shared<unsigned> bits, bool all)
      : tiles_(tiles), count_(all ? tiles : 0), all_(all), bits_(bits) {
    if (!all)
      for (int w = 0; w < (tiles + 31) / 32; ++w) count_ += __popc(bits[w]);
  }

  __device__ __forceinline__ int tiles() const { return tiles_; }
  __device__ __forceinline__ int count() const { return count_; }

  // The first active tile from `tile` on, tiles() if there is none.
  __device__ __forceinline__ int from(int tile) const {
    if (all_) return tile;
    while (tile < tiles_) {
      const unsigned rest = bits_[tile / 32] >> tile % 32;
      if (rest) return tile + __ffs(static_cast<int>(rest)) - 1;
      tile = (tile / 32 + 1) * 32;
    }
    return tiles_;
  }

 private:
  int tiles_, count_;
  bool all_;
  Shared<unsigned> bits_;
};

// Bit t: whether the part of this warp, `rows` of the tile's rows or k's, has a gate on in k-tile 32 word + t.
template <class Tile, int rows>
__device__ __forceinline__ unsigned search_gates(const Operand<typename Tile::Element>& operand, int row0, int word) {
  const int lane = lane_index(), warp = warp_index();
  const int tiles = (operand.width + Tile::depth - 1) / Tile::depth;
  constexpr int words = Tile::depth > 32 ? Tile::depth / 32 : 1;  // of a tile and row
  if (!operand.transposed) {
    // Lane t reads the gates of tile t.
    const int tile = 32 * word + lane;
    unsigned any = 0;
    if (tile < tiles) {
#pragma unroll 8
      for (int row = row0 + warp; row < min(row0 + rows, operand.rows); row += Tile::warps) {
        const std::uint8_t* gates = operand.bits + row * operand.gate_stride;
#pragma unroll
        for (int w = 0; w < words; ++w) any |= tile_gates<Tile>(gates, tile * words + w);
      }
    }
    return __ballot_sync(all_lanes, any != 0);
  }
  // Lane k reads the gates of stored row k of each of the warp's tiles.
  unsigned found = 0;
  for (int t = warp; t < min(32, tiles - 32 * word); t += Tile::warps) {
    unsigned any = 0;
    for (int k = lane; k < Tile::depth; k += 32) {
      const int column = (32 * word + t) * Tile::depth + k;
      if (column >= operand.width) break;
      const unsigned* gates = reinterpret_cast<const unsigned*>(operand.bits + column * operand.gate_stride + row0 / 8);
#pragma unroll
      for (int w = 0; w < (rows + 31) / 32; ++w)
        if (row0 + 32 * w < operand.rows) any |= gates[w];
    }
    if (__any_sync(all_lanes, any != 0)) found |= 1u << t;
  }
  return found;
}

// Looks through the gates of both factors. `scratch` holds 2 * warps * words words, `bits` words.
template <class Tile>
__device__ __forceinline__ ActiveTiles find_active_tiles(const Operand<typename Tile::Element>& left, int row0,
                                                         const Operand<typename Tile::Element>& right, int column0,
                                                         Shared<unsigned> scratch, Shared<unsigned> bits) {
  const int tiles = (left.width + Tile::depth - 1) / Tile::depth, words = (tiles + 31) / 32;
  if ((!left.bits && !right.bits) || tiles > max_searched_tiles) return ActiveTiles(tiles, bits, true);
  for (int w = 0; w < words; ++w) {
    const unsigned in_left = left.bits ? search_gates<Tile, Tile::rows>(left, row0, w) : all_lanes;
    const unsigned in_right = right.bits ? search_gates<Tile, Tile::columns>(right, column0, w) : all_lanes;
    if (lane_index() == 0) {
      scratch[(2 * w) * Tile::warps + warp_index()] = in_left;
      scratch[(2 * w + 1) * Tile::warps + warp_index()] = in_right;
    }
  }
  __syncthreads();
  for (int w = static_cast<int>(threadIdx.x); w < words; w += Tile::threads) {
    unsigned in_left = 0, in_right = 0;
    for (int i = 0; i < Tile::warps; ++i) {
      in_left |= scratch[(2 * w) * Tile::warps + i];
      in_right |= scratch[(2 * w + 1) * Tile::warps + i];
    }
    bits[w] = in_left & in_right & low_bits(tiles - 32 * w);
  }
  __syncthreads();
  return ActiveTiles(tiles, bits, false);
}

}  // namespace gatentk::cuda
