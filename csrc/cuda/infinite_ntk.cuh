// Infinite-width kernels of pairs of samples: a block multiplies a tile of samples, then every warp takes strips of
// the tile through all layers in registers and writes each wanted depth on the way.
//
// The recurrences are those of csrc/cpu/infinite_ntk_kernel.hpp, in complements: eps_l = 1 - cos theta_l,
// T_l = (l+1) - S_l. With r = sqrt(eps_l),
//   theta_l / pi = tau_l = r arc(eps_l),   eps_{l+1} = eps_l - eps_l r drop(eps_l),
//   T_{l+1} = T_l + tau_l (l + 1 - T_l) + eps_{l+1}.
#pragma once

#include <cstdint>
#include <utility>

#include "device.cuh"
#include "gatentk/arc_polynomials.hpp"
#include "gatentk/quantities.hpp"
#include "pair_configurations.hpp"
#include "pair_tiles.cuh"
#include "ptx.cuh"
#include "shared.cuh"

namespace gatentk::cuda {

// Below this eps (18 degrees, and as much around 180) the Gram matrix does not determine the angle well enough:
// its error of a few ulp, divided by sin theta, would show in the kernel. The pair is recomputed from its samples.
constexpr double close_pair = 0.05;
constexpr double pi = 3.14159265358979323846;

// A strip: eight rows by the 32 columns of a warp, eight pairs to a lane. The two polynomials of a layer are then 16
// independent chains, enough to hide the latency of FMA (4 cycles, 8 in double) with one warp to a scheduler.
constexpr int strip = 8;

// Depths of one pass, rising; they travel in the kernel's arguments.
constexpr int most_depths = 256;
struct Depths {
  int count;
  int depth[most_depths];
};

template <class T, int side>
using Layout = InfiniteLayout<side, static_cast<int>(sizeof(T))>;

template <class T>
struct Samples {
  const T* data;
  std::int64_t stride;
  int rows;
  const T *norm, *inverse;  // |x_i|, 1/|x_i|
};

template <class T>
struct PairArguments {
  Samples<T> x, z;
  int width;
  bool symmetric;  // z is x: pairs with j > i are computed and mirrored, the diagonal comes from sample_norms
  bool wide;       // every row starts at a multiple of 16 bytes
  T* out;
  std::int64_t out_slice, out_stride;
  Depths depths;
};

// Norms

__device__ __forceinline__ double sum_of_warp(double value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(all_lanes, value, step);
  return value;
}

// What a kernel is in units of |x|^2 for a sample and itself; an angle is 0.
__device__ __forceinline__ double diagonal_factor(Quantity quantity, int depth) {
  switch (quantity) {
    case Quantity::relu:
      return depth + 1.0;
    case Quantity::relu_components:
      return 1;
    case Quantity::grelu:
      return depth;
    default:
      return 0;
  }
}

template <class T>
struct NormArguments {
  const T* data;
  std::int64_t stride, width;
  int rows;
  T *norm, *inverse;
  T* out;  // null: no diagonal
  std::int64_t out_slice, out_stride;
  Quantity quantity;
  int outputs;
  Depths depths;
};

// A warp per sample: its norm, and the diagonal from the squared norm rather than from a square of its root.
template <class T>
__global__ void __launch_bounds__(norm_threads) sample_norms(const NormArguments<T> a) {
  const int lane = threadIdx.x % 32;
  const std::int64_t row = std::int64_t{blockIdx.x} * (norm_threads / 32) + threadIdx.x / 32;
  if (row >= a.rows) return;
  const T* sample = a.data + row * a.stride;
  double squared = 0;
#pragma unroll 4
  for (std::int64_t k = lane; k < a.width; k += 32) squared += static_cast<double>(sample[k]) * sample[k];
  squared = sum_of_warp(squared);
  if (lane == 0) {
    a.norm[row] = static_cast<T>(sqrt(squared));
    a.inverse[row] = static_cast<T>(1 / sqrt(squared));
  }
  if (!a.out) return;
  for (int o = lane; o < a.outputs; o += 32) {
    const int depth = a.depths.depth[a.quantity == Quantity::relu_components ? 0 : o];
    a.out[o * a.out_slice + row * (a.out_stride + 1)] = static_cast<T>(diagonal_factor(a.quantity, depth) * squared);
  }
}

// The Gram matrix of a tile

// Copies of the samples from row0 on into stages, zeros beyond the matrix. A thread always has the same rows and the
// same place in a stage, so that all that is left to do for a stage is to add its first column.
template <class T, int side>
class StageCopy {
  using L = Layout<T, side>;

 public:
  __device__ __forceinline__ StageCopy(const Samples<T>& samples, int width, bool wide, int row0)
      : wide_(wide), width_(width - column()) {
#pragma unroll
    for (int c = 0; c < count; ++c) {
      const int row = row0 + row_in_stage(c);
      inside_ |= unsigned{row < samples.rows} << c;
      source_[c] = row < samples.rows ? samples.data + row * samples.stride + column() : samples.data;
    }
  }

  __device__ __forceinline__ void start(Shared<T> stage, int k0) const {
    const int left = width_ - k0;
    if (wide_ && (left >= per_copy || left <= 0)) {
#pragma unroll
      for (int c = 0; c < count; ++c) {
        const bool valid = left > 0 && inside_ >> c & 1;
        copy_async<16>(stage, place(c), valid ? source_[c] + k0 : source_[c], valid ? 16 : 0);
      }
      return;
    }
#pragma unroll
    for (int c = 0; c < count; ++c)
#pragma unroll
      for (int e = 0; e < per_copy; ++e) {
        const bool valid = e < left && inside_ >> c & 1;
        copy_async<size>(stage, place(c) + e, valid ? source_[c] + k0 + e : source_[c], valid ? size : 0);
      }
  }

 private:
  static constexpr int size = sizeof(T), per_copy = 16 / size, copies = L::stage_columns / per_copy;
  static constexpr int count = side * copies / L::threads;
  static_assert(L::threads % copies == 0);

  static __device__ __forceinline__ int column() { return threadIdx.x % copies * per_copy; }
  static __device__ __forceinline__ int row_in_stage(int c) { return (c * L::threads + threadIdx.x) / copies; }
  static __device__ __forceinline__ int place(int c) { return row_in_stage(c) * L::stage_pitch + column(); }

  const T* source_[count];
  unsigned inside_ = 0;  // bit c: whether row c of this thread exists
  bool wide_;
  int width_;  // from this thread's first column on
};

// Products of a tile of samples, in the registers of the block.
template <class T, int side>
class TileProduct;

// 8 threads down, side/4 across; a thread has every eighth row and every (side/4)-th column.
template <int side>
class TileProduct<float, side> {
  using L = Layout<float, side>;

 public:
  __device__ __forceinline__ void multiply(Shared<float> x, Shared<float> z) {
#pragma unroll
    for (int k = 0; k < L::stage_columns; k += 4) {
      float4 right[columns];
#pragma unroll
      for (int c = 0; c < columns; ++c) right[c] = z.load<float4>((column() + c * across) * L::stage_pitch + k);
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        const float4 left = x.load<float4>((row() + r * down) * L::stage_pitch + k);
#pragma unroll
        for (int c = 0; c < columns; ++c) {
          sum_[r][c] = fma(left.x, right[c].x, sum_[r][c]);
          sum_[r][c] = fma(left.y, right[c].y, sum_[r][c]);
          sum_[r][c] = fma(left.z, right[c].z, sum_[r][c]);
          sum_[r][c] = fma(left.w, right[c].w, sum_[r][c]);
        }
      }
    }
    if (++stages_ == stages_per_sum) flush();
  }

  __device__ __forceinline__ void store(Shared<float> tile) {
    flush();
#pragma unroll
    for (int r = 0; r < rows; ++r)
#pragma unroll
      for (int c = 0; c < columns; ++c) tile[(row() + r * down) * L::tile_pitch + column() + c * across] = total_[r][c];
  }

 private:
  static constexpr int down = 8, across = side / 4;
  static constexpr int rows = side / down, columns = side / across;
  // 160 columns to a running sum: its rounding errors grow with its length.
  static constexpr int stages_per_sum = 160 / L::stage_columns;

  static __device__ __forceinline__ int row() { return threadIdx.x / across; }
  static __device__ __forceinline__ int column() { return threadIdx.x % across; }

  __device__ __forceinline__ void flush() {
#pragma unroll
    for (int r = 0; r < rows; ++r)
#pragma unroll
      for (int c = 0; c < columns; ++c) {
        total_[r][c] += sum_[r][c];
        sum_[r][c] = 0;
      }
    stages_ = 0;
  }

  float sum_[rows][columns] = {}, total_[rows][columns] = {};
  int stages_ = 0;
};

// Tensor cores multiply double as exactly as FMA does, with a sixteenth of the loads: a warp has 32 rows by side/2
// columns in fragments of 8 x 8.
template <int side>
class TileProduct<double, side> {
  using L = Layout<double, side>;

 public:
  __device__ __forceinline__ void multiply(Shared<double> x, Shared<double> z) {
    const int lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
#pragma unroll
    for (int k = 0; k < L::stage_columns; k += 4) {
      double left[rows], right[columns];
#pragma unroll
      for (int r = 0; r < rows; ++r) left[r] = x[(first_row() + 8 * r + group) * L::stage_pitch + k + member];
#pragma unroll
      for (int c = 0; c < columns; ++c) right[c] = z[(first_column() + 8 * c + group) * L::stage_pitch + k + member];
#pragma unroll
      for (int r = 0; r < rows; ++r)
#pragma unroll
        for (int c = 0; c < columns; ++c) mma_f64(sum_[r][c], left[r], right[c]);
    }
  }

  __device__ __forceinline__ void store(Shared<double> tile) {
    const int lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
#pragma unroll
    for (int r = 0; r < rows; ++r)
#pragma unroll
      for (int c = 0; c < columns; ++c)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          tile[(first_row() + 8 * r + group) * L::tile_pitch + first_column() + 8 * c + 2 * member + e] = sum_[r][c][e];
  }

 private:
  static constexpr int rows = 4, columns = side / 16;

  static __device__ __forceinline__ int first_row() { return threadIdx.x / 64 * 32; }
  static __device__ __forceinline__ int first_column() { return threadIdx.x / 32 % 2 * (side / 2); }

  double sum_[rows][columns][2] = {};
};

// tile[i][j] = x_{row0 + i} . z_{column0 + j}, in shared memory that the stages of the samples use first.
template <class T, int side>
__device__ __forceinline__ void multiply_tile(const PairArguments<T>& a, int row0, int column0, Shared<T> memory) {
  using L = Layout<T, side>;
  const int steps = (a.width + L::stage_columns - 1) / L::stage_columns;
  const StageCopy<T, side> x(a.x, a.width, a.wide, row0), z(a.z, a.width, a.wide, column0);
  TileProduct<T, side> product;
  const auto stage_of = [&](int step) { return memory.from(step % L::stages * 2 * L::stage_size); };
  const auto copy = [&](int step) {
    if (step < steps) {
      x.start(stage_of(step), step * L::stage_columns);
      z.start(stage_of(step).from(L::stage_size), step * L::stage_columns);
    }
    commit_copies();  // also without copies: a group per step keeps the count that wait_copies sees
  };
  for (int step = 0; step < L::stages - 1; ++step) copy(step);
  for (int step = 0; step < steps; ++step) {
    wait_copies<L::stages - 2>();
    __syncthreads();  // this step has arrived, and the stage that is filled next is no longer read
    copy(step + L::stages - 1);
    product.multiply(stage_of(step), stage_of(step).from(L::stage_size));
  }
  wait_copies<0>();
  __syncthreads();
  product.store(memory);
  __syncthreads();
}

// Layers

template <class T>
using Strip = T[strip];

// Coefficients for the range of eps of a layer, highest power first. Those of double come from constant memory: as
// immediate operands each would cost two moves, 40 beside the 300 other instructions of a layer of eight pairs.
template <int degrees>
struct ConstantTable {
  double row[arc_levels][degrees];
};

template <int degrees>
constexpr ConstantTable<degrees> constant_table(const double (&rows)[arc_levels][degrees]) {
  ConstantTable<degrees> table{};
  for (int level = 0; level < arc_levels; ++level)
    for (int power = 0; power < degrees; ++power) table.row[level][power] = rows[level][power];
  return table;
}

static __constant__ ConstantTable<19> arc_constants = constant_table(arc_f64);
static __constant__ ConstantTable<18> drop_constants = constant_table(drop_f64);

template <class T>
struct Arc;
template <>
struct Arc<double> {
  template <int level>
  static constexpr int degree = arc_f64_degree[level];
  template <int level, int power>
  static __device__ __forceinline__ double coefficient() {
    return arc_constants.row[level][power];
  }
};
template <>
struct Arc<float> {
  template <int level>
  static constexpr int degree = arc_f32_degree[level];
  template <int level, int power>
  static __device__ __forceinline__ float coefficient() {
    constexpr float value = arc_f32[level][power];
    return value;
  }
};
template <class T>
struct Drop;
template <>
struct Drop<double> {
  template <int level>
  static constexpr int degree = drop_f64_degree[level];
  template <int level, int power>
  static __device__ __forceinline__ double coefficient() {
    return drop_constants.row[level][power];
  }
};
template <>
struct Drop<float> {
  template <int level>
  static constexpr int degree = drop_f32_degree[level];
  template <int level, int power>
  static __device__ __forceinline__ float coefficient() {
    constexpr float value = drop_f32[level][power];
    return value;
  }
};

template <class T>
__device__ __forceinline__ void horner_step(const Strip<T>& x, T next, Strip<T>& y) {
#pragma unroll
  for (int v = 0; v < strip; ++v) y[v] = y[v] * x[v] + next;
}

template <class T, class Series, int level, int... step>
__device__ __forceinline__ void horner(const Strip<T>& x, Strip<T>& y, std::integer_sequence<int, step...>) {
  const T first = Series::template coefficient<level, 0>();
#pragma unroll
  for (int v = 0; v < strip; ++v) y[v] = first;
  (horner_step<T>(x, Series::template coefficient<level, step + 1>(), y), ...);
}

template <class T, class Series, int level>
__device__ __forceinline__ void polynomial(const Strip<T>& x, Strip<T>& y) {
  horner<T, Series, level>(x, y, std::make_integer_sequence<int, Series::template degree<level>>());
}

// The root of a double is an iteration that does not stand 0, so an eps of parallel samples is this one instead. All
// angles that follow from it are below 2^-200, even those of gradients, which grow as its fourth root.
template <class T>
constexpr T smallest_eps = sizeof(T) == 4 ? T(0) : T(0x1p-900);
template <class T>
constexpr T smallest_angle = sizeof(T) == 4 ? T(0) : T(0x1p-200);

// Unlike a maximum this keeps NaN.
template <class T>
__device__ __forceinline__ T at_least_smallest(T eps) {
  return eps < smallest_eps<T> ? smallest_eps<T> : eps;
}

__device__ __forceinline__ float root(float x) {
  return approximate_sqrt(x);
}

// One step of third order from 20 bits; written for the root itself its error is below 0.8 ulp.
__device__ __forceinline__ double root(double x) {
  const double inverse = approximate_rsqrt(x), s = x * inverse;
  const double error = fma(-s, inverse, 1.0);
  return fma(s * error, fma(error, 0.375, 0.5), s);
}

// tau = theta/pi; `level` names the polynomials for the range of eps.
template <class T, int level>
__device__ __forceinline__ void half_turns(const Strip<T>& eps, Strip<T>& tau) {
  polynomial<T, Arc<T>, level>(eps, tau);
#pragma unroll
  for (int v = 0; v < strip; ++v) tau[v] *= root(eps[v]);
}

// tau of the layer, and by how much eps falls to the next.
template <class T, int level>
__device__ __forceinline__ void advance_level(const Strip<T>& eps, Strip<T>& tau, Strip<T>& fall) {
  Strip<T> roots;
#pragma unroll
  for (int v = 0; v < strip; ++v) roots[v] = root(eps[v]);
  polynomial<T, Drop<T>, level>(eps, fall);
  polynomial<T, Arc<T>, level>(eps, tau);
#pragma unroll
  for (int v = 0; v < strip; ++v) {
    fall[v] *= eps[v] * roots[v];
    tau[v] *= roots[v];
  }
}

// From eps_l to tau_l and eps_{l+1}; eps_0 comes as 1 - |cos theta_0|, and angles above pi/2, the bits of `obtuse`,
// are seen from pi.
template <class T>
__device__ __forceinline__ void advance(int layer, unsigned obtuse, Strip<T>& eps, Strip<T>& tau) {
  static_assert(arc_levels == 5);
  Strip<T> fall;
  if (layer >= 5) {
    advance_level<T, 4>(eps, tau, fall);
  } else if (layer == 4) {
    advance_level<T, 3>(eps, tau, fall);
  } else if (layer == 3) {
    advance_level<T, 2>(eps, tau, fall);
  } else if (layer == 2) {
    advance_level<T, 1>(eps, tau, fall);
  } else {
    advance_level<T, 0>(eps, tau, fall);
    if (layer == 0) {
#pragma unroll
      for (int v = 0; v < strip; ++v) {
        const bool above = obtuse >> v & 1;
        tau[v] = above ? T(1) - tau[v] : tau[v];
        eps[v] = above ? T(1) : eps[v];
      }
    }
  }
#pragma unroll
  for (int v = 0; v < strip; ++v) eps[v] -= fall[v];
}

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

// The angle whose cosine is 1 - scale deficit, in half turns.
template <class T>
__device__ __forceinline__ void deficit_angle(T scale, const Strip<T>& deficit, Strip<T>& tau) {
  Strip<T> acute;
#pragma unroll
  for (int v = 0; v < strip; ++v) {
    const T whole = scale * deficit[v];
    acute[v] = at_least_smallest(whole > T(1) ? T(2) - whole : whole);
  }
  half_turns<T, 0>(acute, tau);
#pragma unroll
  for (int v = 0; v < strip; ++v) tau[v] = scale * deficit[v] > T(1) ? T(1) - tau[v] : tau[v];
}

// An output of a depth: from tau, or from the total of the deficits.
template <class T>
__device__ __forceinline__ void depth_value(Quantity quantity, int depth, const Strip<T>& tau, const Strip<T>& total,
                                            Strip<T>& value) {
  if (quantity == Quantity::relu || quantity == Quantity::grelu) {
    const T layers = static_cast<T>(quantity == Quantity::relu ? depth + 1 : depth);
    const T scale = quantity == Quantity::relu ? T(1) : layers;
#pragma unroll
    for (int v = 0; v < strip; ++v) value[v] = layers - scale * total[v];
    return;
  }
  if (quantity == Quantity::embedding_angle || depth == 0) {
#pragma unroll
    for (int v = 0; v < strip; ++v) value[v] = tau[v];
  } else {
    deficit_angle<T>(quantity == Quantity::relu_angle ? 1 / static_cast<T>(depth + 1) : T(1), total, value);
  }
#pragma unroll
  for (int v = 0; v < strip; ++v) value[v] = value[v] <= smallest_angle<T> ? T(0) : T(pi) * value[v];
}

// Every depth of a kernel or an angle from one pass over the layers:
//   relu          |x||z| S_l, at l = 0 the Gram matrix itself
//   relu_angle    the angle of the gradients: cos phi = S_l / (l + 1), at l = 0 that of the samples
//   grelu         l |x||z| (1 - u_l), u_0 = eps_1, u_s = u_{s-1} + tau_s (1 - u_{s-1}): the expected GReLU kernel
//   grelu_angle   the angle whose cosine is 1 - u_l
//   embedding_angle   pi tau_l
template <class T, int side>
__device__ __forceinline__ void sweep_strip(const PairStrip<T, side>& pairs, Quantity quantity) {
  DepthCursor depths(pairs.a.depths);
  const bool relu = quantity == Quantity::relu || quantity == Quantity::relu_angle;
  const bool kernel = quantity == Quantity::relu || quantity == Quantity::grelu;
  if (quantity == Quantity::relu && depths.reached(0)) pairs.write_patch(depths.next(), false);
  Strip<T> eps, tau, total;
  unsigned obtuse;
  pairs.input_angles(eps, obtuse);
#pragma unroll
  for (int v = 0; v < strip; ++v) total[v] = obtuse >> v & 1 ? T(2) - eps[v] : eps[v];
  T number = 1;   // of the depth
  int layer = 0;  // the next one to be left
  for (int depth = quantity == Quantity::relu ? 1 : 0; depth <= depths.last(); ++depth) {
    // eps_l and tau_{l-1} serve relu at depth l (and tau_0 its angle at depth 0), tau_l the others.
    if (layer <= (relu ? depth - 1 : depth) || layer == 0) advance<T>(layer++, obtuse, eps, tau);
    if (depth == 0) {
      if (!relu) {
#pragma unroll
        for (int v = 0; v < strip; ++v) total[v] = eps[v];
      }
    } else if (!relu) {
#pragma unroll
      for (int v = 0; v < strip; ++v) total[v] += tau[v] * (T(1) - total[v]);
    } else {
#pragma unroll
      for (int v = 0; v < strip; ++v) total[v] = (total[v] + eps[v]) + tau[v] * (number - total[v]);
      number += 1;
    }
    if (depths.reached(depth)) {
      Strip<T> value;
      depth_value<T>(quantity, depth, tau, total, value);
      pairs.write(depths.next(), value, kernel);
    }
  }
}

// Output l - 1 for l = 1..L+1: |x||z| cos(theta_{l-1}) prod_{s=l-1..L-1} (1 - tau_s), only W_l trained. The products
// are known from the last layer backwards: on the way up every output keeps the eps of its layer, on the way down tau
// is computed once more and the output gets its value.
template <class T, int side>
__device__ __forceinline__ void component_strip(const PairStrip<T, side>& pairs) {
  const int last = pairs.a.depths.depth[0];
  Strip<T> eps, tau, product;
  unsigned obtuse;
  pairs.input_angles(eps, obtuse);
  for (int layer = 0; layer < last; ++layer) {
    pairs.keep(layer, eps);
    advance<T>(layer, obtuse, eps, tau);
  }
  pairs.keep(last, eps);
#pragma unroll
  for (int v = 0; v < strip; ++v) product[v] = T(1);
  for (int layer = last; layer >= 0; --layer) {
    const unsigned above = layer == 0 ? obtuse : 0;
    pairs.recall(layer, eps);
    if (layer < last) {
      if (layer >= 5)
        half_turns<T, 4>(eps, tau);
      else
        half_turns<T, 0>(eps, tau);
#pragma unroll
      for (int v = 0; v < strip; ++v) product[v] *= above >> v & 1 ? tau[v] : T(1) - tau[v];
    }
    Strip<T> value;
#pragma unroll
    for (int v = 0; v < strip; ++v) value[v] = (above >> v & 1 ? eps[v] - T(1) : T(1) - eps[v]) * product[v];
    pairs.write(layer, value, true);
  }
}

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

template <class T, int side>
__global__ void __launch_bounds__(Layout<T, side>::threads, Layout<T, side>::sweep_blocks)
    infinite_sweep(const PairArguments<T> a, const Quantity quantity) {
  for_each_strip<T, side>(a, [&](const PairStrip<T, side>& pairs) { sweep_strip<T, side>(pairs, quantity); });
}

template <class T, int side>
__global__ void __launch_bounds__(Layout<T, side>::threads, Layout<T, side>::component_blocks)
    infinite_components(const PairArguments<T> a, Quantity /*relu_components*/) {
  for_each_strip<T, side>(a, [&](const PairStrip<T, side>& pairs) { component_strip<T, side>(pairs); });
}

}  // namespace gatentk::cuda
