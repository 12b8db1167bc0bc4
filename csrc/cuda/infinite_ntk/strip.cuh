// A strip of a tile: the angles of its pairs, and where its results go.
#pragma once

#include "cuda/device/lanes.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/infinite_ntk/arguments.cuh"
#include "cuda/infinite_ntk/layers.cuh"
#include "gatentk/angles.hpp"

namespace gatentk::cuda {

// Eight rows of the tile by the columns of a warp: where they come from and where they go.
template <class T, int side>
class PairStrip {
 public:
  // `patch` holds the strip's part of the tile's Gram matrix.
  __device__ __forceinline__ PairStrip(const PairArguments<T>& arguments, Shared<T> patch, int row0, int column0)
      : a(arguments), patch_(patch), row0_(row0), column0_(column0), lane_(threadIdx.x % 32) {}

  // Whether the strip has any pair to compute.
  static __device__ __forceinline__ bool wanted(const PairArguments<T>& a, int row0, int column0) {
    return row0 < a.x.rows && column0 < a.z.rows && (!a.symmetric || column0 + 31 > row0);
  }

  __device__ __forceinline__ bool valid(int r) const { return valid(r, column0_ + lane_); }

  // eps_0 as 1 - |cos theta_0|; bit r of `obtuse` says that cos theta_0 is negative. The patch is free afterwards.
  __device__ __forceinline__ void input_angles(Strip<T>& eps, unsigned& obtuse) const {
    const T inverse = a.z.inverse[min(column0_ + lane_, a.z.rows - 1)];
#pragma unroll 1
    for (int r = 0; r < strip; ++r) {
      const T cosine = patch_[r * pitch + lane_] * (a.x.inverse[min(row0_ + r, a.x.rows - 1)] * inverse);
      const T deficit = replace_close(r, cosine, T(1) - fabs(cosine));
      patch_[r * pitch + lane_] = copysign(at_least_smallest(deficit), cosine);
    }
    obtuse = 0;
#pragma unroll
    for (int r = 0; r < strip; ++r) {
      const T deficit = patch_[r * pitch + lane_];
      eps[r] = fabs(deficit);
      obtuse |= unsigned{copysign(T(1), deficit) < 0} << r;
    }
    __syncwarp();
  }

  __device__ __forceinline__ void write(int output, const Strip<T>& value, bool by_norms) const {
    fill_patch(value);
    write_patch(output, by_norms);
  }

  // The patch as it is, or times |x_i||z_j|, at its place in the output and mirrored.
  __device__ __forceinline__ void write_patch(int output, bool by_norms) const {
    write_direct(output, by_norms);
    if (a.symmetric) write_mirrored(output);
  }

  // Keeps values at the place of an output, and gets them back.
  __device__ __forceinline__ void keep(int output, const Strip<T>& value) const {
    fill_patch(value);
    write_direct(output, false);
  }
  __device__ __forceinline__ void recall(int output, Strip<T>& value) const {
    const T* kept = at(output, row0_, column0_ + lane_);
#pragma unroll 4
    for (int r = 0; r < strip; ++r, kept += a.out_stride) patch_[r * pitch + lane_] = valid(r) ? *kept : T(1);
#pragma unroll
    for (int r = 0; r < strip; ++r) value[r] = patch_[r * pitch + lane_];
  }

  const PairArguments<T>& a;

 private:
  static constexpr int pitch = Layout<T, side>::tile_pitch;

  __device__ __forceinline__ bool valid(int r, int column) const {
    const int row = row0_ + r;
    return row < a.x.rows && column < a.z.rows && (!a.symmetric || column > row);
  }

  __device__ __forceinline__ T* at(int output, int row, int column) const {
    return a.out + output * a.out_slice + row * a.out_stride + column;
  }

  __device__ __forceinline__ void fill_patch(const Strip<T>& value) const {
#pragma unroll
    for (int r = 0; r < strip; ++r) patch_[r * pitch + lane_] = value[r];
  }

  // The loops that write are not unrolled: a store per pair and output is little beside the layers, and the code of the
  // layers has to stay in the instruction cache.
  __device__ __forceinline__ void write_direct(int output, bool by_norms) const {
    const int column = column0_ + lane_;
    const T norm = by_norms ? a.z.norm[min(column, a.z.rows - 1)] : T(1);
    T* direct = at(output, row0_, column);
#pragma unroll 1
    for (int r = 0; r < strip; ++r, direct += a.out_stride) {
      if (!valid(r, column)) continue;
      T value = patch_[r * pitch + lane_];
      if (by_norms) patch_[r * pitch + lane_] = value = a.x.norm[row0_ + r] * norm * value;
      *direct = value;
    }
  }

  // Eight lanes write the eight rows of a column, whole sectors of 32 bytes.
  __device__ __forceinline__ void write_mirrored(int output) const {
    __syncwarp();
    const int r = lane_ % strip, first = lane_ / strip;
    T* mirrored = at(output, column0_ + first, row0_ + r);
#pragma unroll 1
    for (int c = first; c < 32; c += 32 / strip, mirrored += 32 / strip * a.out_stride)
      if (valid(r, column0_ + c)) *mirrored = patch_[r * pitch + c];
    __syncwarp();
  }

  // The deficits of row r; those of close pairs from their samples, one after the other by the whole warp.
  __device__ __forceinline__ T replace_close(int r, T cosine, T deficit) const {
    const bool close = deficit < T(close_pair) && valid(r);
    for (unsigned left = __ballot_sync(all_lanes, close); left; left &= left - 1) {
      const int owner = __ffs(left) - 1;
      const bool opposite = __shfl_sync(all_lanes, cosine, owner) < 0;
      const T recomputed = static_cast<T>(close_deficit(row0_ + r, column0_ + owner, opposite));
      if (lane_ == owner) deficit = recomputed;
    }
    return deficit;
  }

  // 1 - |cos| of the angle between two samples, relatively accurate for close (or nearly opposite) ones:
  // with d = z -+ x and w = d - x (x.d)/|x|^2 orthogonal to x, p = |x| + x.d/|x| the part along x,
  // 1 - cos = |w|^2 / (h (h + p)) with h = hypot(|w|, p). Sums in double for both types.
  __device__ __forceinline__ double close_deficit(int row, int column, bool opposite) const {
    const T *x = a.x.data + row * a.x.stride, *z = a.z.data + column * a.z.stride;
    const double sign = opposite ? -1 : 1;
    double squared = 0, along = 0, across = 0;
#pragma unroll 2
    for (int k = lane_; k < a.width; k += 32) {
      const double own = x[k], other = z[k];
      squared += own * own;
      along += own * (sign * other - own);
    }
    squared = sum_of_warp(squared);
    along = sum_of_warp(along);
    const double slope = along / squared;
#pragma unroll 2
    for (int k = lane_; k < a.width; k += 32) {
      const double own = x[k], other = z[k], w = (sign * other - own) - slope * own;
      across += w * w;
    }
    across = sum_of_warp(across);
    const double norm = sqrt(squared), p = norm + along / norm;
    const double h = sqrt(across + p * p);
    return across / (h * (h + p));
  }

  Shared<T> patch_;
  int row0_, column0_, lane_;
};

}  // namespace gatentk::cuda
