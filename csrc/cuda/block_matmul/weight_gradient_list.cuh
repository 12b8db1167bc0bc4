// The samples that are on in two units, listed in shared memory piece by piece.
#pragma once

#include <cstdint>

#include "cuda/device/lanes.cuh"
#include "cuda/device/shared.cuh"

namespace gatentk::cuda {

// Two rows of bits over the samples; a null one is all on.
struct BitRows {
  const unsigned* left;
  const unsigned* right;
  int n;

  // Samples 32 word .. 32 word + 31 that are on in both.
  __device__ __forceinline__ unsigned common(int word) const {
    unsigned bits = low_bits(n - 32 * word);
    if (bits && left) bits &= left[word];
    if (bits && right) bits &= right[word];
    return bits;
  }
};

// Rising numbers of the common samples. Each of `threads` threads keeps its share of a piece of `piece` samples in a
// register, read when the piece before was listed; what no tile has taken of that one is moved to the front.
template <int threads, int piece, int depth>
class CommonSamples {
 public:
  // `list` has room for piece + depth numbers, `counts` for one of each warp.
  __device__ __forceinline__ CommonSamples(const BitRows& bits, Shared<int> list, Shared<int> counts)
      : bits_(bits), list_(list), counts_(counts), ahead_(read(0)) {}

  // Listed and not taken, after prepare() at least `depth` unless they are the last.
  __device__ __forceinline__ int left() const { return left_; }
  // Number i < left() of them.
  __device__ __forceinline__ int at(int i) const { return list_[first_ + i]; }

  // Takes the next tile's samples away; less than none are left where they were the last and no whole tile. Then the
  // numbers that may still be asked for are those at the front, whatever they are.
  __device__ __forceinline__ void take() {
    left_ -= depth;
    first_ = left_ > 0 ? first_ + depth : 0;
  }

  __device__ __forceinline__ void prepare() {
#pragma unroll 1
    while (left_ < depth && begin_ < bits_.n) list_piece();
  }

 private:
  static constexpr int warps = threads / 32, share = piece / threads;
  static_assert(share == 32 || share == 16);
  static constexpr int carries = (depth + threads - 1) / threads;

  // Bit b: sample b of this thread's share of the piece that begins at `begin`.
  __device__ __forceinline__ unsigned read(int begin) const {
    const int first = begin + static_cast<int>(threadIdx.x) * share;
    const unsigned word = first < bits_.n ? bits_.common(first / 32) : 0u;
    return share == 32 ? word : word >> first % 32 & 0xffffu;
  }

  __device__ __forceinline__ void list_piece() {
    const int thread = static_cast<int>(threadIdx.x);
    int carried[carries];
#pragma unroll
    for (int i = 0; i < carries; ++i)
      if (thread + i * threads < left_) carried[i] = at(thread + i * threads);
    int before = __popc(ahead_);  // samples of the lanes up to this one
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int below = __shfl_up_sync(all_lanes, before, step);
      if (lane_index() >= step) before += below;
    }
    if (lane_index() == 31) counts_[warp_index()] = before;
    __syncthreads();  // nobody reads the list any more
    int place = left_ + before - __popc(ahead_), total = 0;
#pragma unroll
    for (int warp = 0; warp < warps; ++warp) {
      const int count = counts_[warp];
      if (warp < warp_index()) place += count;
      total += count;
    }
#pragma unroll
    for (int i = 0; i < carries; ++i)
      if (thread + i * threads < left_) list_[thread + i * threads] = carried[i];
    const int sample = begin_ + thread * share;
    for (unsigned rest = ahead_; rest; rest &= rest - 1) list_[place++] = sample + __ffs(static_cast<int>(rest)) - 1;
    first_ = 0, left_ += total, begin_ += piece;
    ahead_ = read(begin_);
    __syncthreads();
  }

  const BitRows bits_;
  const Shared<int> list_, counts_;
  unsigned ahead_;
  int begin_ = 0;  // of the piece that is listed next
  int first_ = 0, left_ = 0;
};

}  // namespace gatentk::cuda
