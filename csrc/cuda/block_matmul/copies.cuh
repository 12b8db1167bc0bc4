// Copies of 16 bytes that bring rows of the factors to shared memory, wherever these rows lie.
#pragma once

#include <cstdint>

#include "cuda/device/lanes.cuh"
#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/tile/shape.cuh"

namespace gatentk::cuda {

// `rows` rows of a tile, of which eight lanes copy the 128 bytes along k: copy i of a thread is of row first() + i *
// step.
template <class Tile, int rows>
class RowChunks {
 public:
  using T = typename Tile::Element;
  static constexpr int step = Tile::threads / 8, count = rows / step;
  static_assert(step % 8 == 0 && rows % step == 0 && count <= 32);

  static __device__ __forceinline__ int first() { return static_cast<int>(threadIdx.x) / 8; }
  // This lane's first k in a tile.
  static __device__ __forceinline__ int lane_k() { return static_cast<int>(threadIdx.x) % 8 * Tile::chunk; }

  // row_at(r): the stored row that is row r of the tile; any if it is not copied.
  template <class RowAt>
  __device__ __forceinline__ RowChunks(const T* data, unsigned row_chunks, RowAt&& row_at)
      : from_(data + lane_k()), to_(tile_index<Tile>(first(), lane_k())) {
#pragma unroll
    for (int i = 0; i < count; ++i) offsets_[i] = static_cast<unsigned>(row_at(first() + i * step)) * row_chunks;
  }

  // Starts the copies of the next k-tile; bit i of `on`: whether copy i reads, the others fill in zeros.
  __device__ __forceinline__ void copy_next(Shared<T> stage, unsigned on) {
#pragma unroll
    for (int i = 0; i < count; ++i)
      copy_async<16>(stage, to_ + i * step * Tile::depth, from_ + std::uint64_t{offsets_[i]} * Tile::chunk,
                     on & 1u << i);
    from_ += Tile::depth;
  }

 private:
  const T* from_;  // of this lane's chunk of row 0 in the next k-tile
  int to_;
  unsigned offsets_[count];  // of the rows, in chunks: one multiply-add makes an address
};

// Gates of units along k, for the rows of one RowChunks: lane c of eight keeps those of copies c, c + 8, ... of all
// eight, 32 units in a register, and a ballot hands them round.
template <class Tile, int copies>
class UnitGates {
 public:
  // row_bits(i): the row of bits for this thread's copy i; null if the row is off as a whole.
  template <class RowBits>
  __device__ __forceinline__ UnitGates(int units, int block, bool gated, RowBits&& row_bits)
      : block_(block), words_((units + 31) / 32), next_unit_(block) {
    const int lane = lane_index() % 8;
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      rows_[g] = 8 * g + lane < copies ? row_bits(8 * g + lane) : nullptr;
      all_[g] = rows_[g] && !gated ? all_lanes : 0u;
      if (!gated) rows_[g] = nullptr;
      here_[g] = read(g, 0);
      ahead_[g] = read(g, 1);
    }
  }

  // Bit i: whether this lane's chunk in the next k-tile is on in copy i.
  __device__ __forceinline__ unsigned next() {
    unsigned on = 0;
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      const unsigned bits = __funnelshift_r(here_[g], ahead_[g], static_cast<unsigned>(unit_));
      unsigned votes = __ballot_sync(all_lanes, bits & 1u);
      if constexpr (Tile::depth > 32) {  // a tile holds parts of two units
        const unsigned second = __ballot_sync(all_lanes, bits & 2u);
        if (begin_ + RowChunks<Tile, 8 * Tile::threads / 8>::lane_k() >= next_unit_) votes = second;
      }
      on |= (votes >> lane_index() / 8 * 8 & 0xffu) << 8 * g;
    }
    begin_ += Tile::depth;
#pragma unroll 1
    while (begin_ >= next_unit_) {
      next_unit_ += block_;
      if (++unit_ % 32 == 0) {
#pragma unroll
        for (int g = 0; g < groups; ++g) here_[g] = ahead_[g], ahead_[g] = read(g, unit_ / 32 + 1);
      }
    }
    return on;
  }

 private:
  static constexpr int groups = (copies + 7) / 8;

  __device__ __forceinline__ unsigned read(int g, int word) const {
    return rows_[g] && word < words_ ? rows_[g][word] : all_[g];
  }

  const unsigned* rows_[groups];
  unsigned all_[groups], here_[groups], ahead_[groups];  // ahead_ is read long before it is used
  int block_, words_, next_unit_, unit_ = 0, begin_ = 0;
};

}  // namespace gatentk::cuda
