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

  __device__ __forceinline__ bool valid(int r) const { return valid(r, column()); }

  // Of the first row, and of this lane's column.
  __device__ __forceinline__ int row() const { return row0_; }
  __device__ __forceinline__ int column() const { return column0_ + lane_; }

  // eps_0 as 1 - |cos theta_0|; bit r of `obtuse` says that cos theta_0 is negative. The patch is free afterwards.
  __device__ __forceinline__ void input_angles(Strip<T>& eps, unsigned& obtuse) const {
    const T inverse = a.z.inverse[min(column0_ + lane_, a.z.rows - 1)];
#pragma unroll 1
    for (int r = 0; r < strip; ++r) {
      const T product = patch_[r * pitch + lane_];
      const T cosine = product * (a.x.inverse[min(row0_ + r, a.x.rows - 1)] * inverse);
      const T deficit = replace_close(r, product, T(1) - fabs(cosine));
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
  __device__ __forceinline__ T replace_close(int r, T product, T deficit) const {
    const bool close = deficit < T(close_pair) && valid(r);
    for (unsigned left = __ballot_sync(all_lanes, close); left; left &= left - 1) {
      const int owner = __ffs(left) - 1;
      const T of_owner = __shfl_sync(all_lanes, product, owner);
      const T recomputed = static_cast<T>(close_deficit(row0_ + r, column0_ + owner, of_owner));
      if (lane_ == owner) deficit = recomputed;
    }
    return deficit;
  }

  // Sums over the columns of x x, of w w and of x w, w = (z - t x) - s x with one rounding for each difference.
  struct Remainder {
    double squared, across, along;
  };
  __device__ __forceinline__ Remainder remainder_of(const T* x, const T* z, double t, double s) const {
    Remainder sums{0, 0, 0};
#pragma unroll 2
    for (int k = lane_; k < a.width; k += 32) {
      const double own = x[k], w = fma(-s, own, fma(-t, own, static_cast<double>(z[k])));
      sums.squared += own * own;
      sums.across += w * w;
      sums.along += own * w;
    }
    return {sum_of_warp(sums.squared), sum_of_warp(sums.across), sum_of_warp(sums.along)};
  }

  // 1 - |cos| of the angle between two samples, relatively accurate for parallel ones of any norms: with
  // t = x.z / |x|^2, w = z - t x and p = |x.z| / |x|, 1 - |cos| = |w|^2 / (h (h + p)), h = hypot(|w|, p). What t lacks
  // leaves a part along x in w, of which w is freed by |w|^2 - (x.w)^2 / |x|^2, or where it is most of w by another
  // difference; `product`, x.z, may be rounded. Sums in double for both types.
  __device__ __forceinline__ double close_deficit(int row, int column, double product) const {
    const T *x = a.x.data + row * a.x.stride, *z = a.z.data + column * a.z.stride;
    const double inverse = a.x.inverse[row], t = product * inverse * inverse;
    Remainder w{0, 0, 0};
    double s = 0, p = 0;
#pragma unroll 1
    for (int pass = 0; pass < 2; ++pass) {
      const double before = w.across;
      w = remainder_of(x, z, t, s);
      if (pass == 0) p = fabs(t * w.squared + w.along) / sqrt(w.squared);
      if (pass == 1 && w.across <= parallel_part * before) return 0;
      s = w.along / w.squared;
      if (!(s * w.along > close_part * w.across)) break;
    }
    const double across = w.across - s * w.along;
    const double h = sqrt(across + p * p);
    return across / (h * (h + p));
  }

  Shared<T> patch_;
  int row0_, column0_, lane_;
};

}  // namespace gatentk::cuda
