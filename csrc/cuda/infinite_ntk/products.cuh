// The Gram matrix of a tile of samples.
#pragma once

#include <cstdint>

#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/infinite_ntk/arguments.cuh"
#include "cuda/tile/pipeline.cuh"

namespace gatentk::cuda {

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
        copy_async<16>(stage, place(c), valid ? source_[c] + k0 : source_[c], valid);
      }
      return;
    }
#pragma unroll
    for (int c = 0; c < count; ++c)
#pragma unroll
      for (int e = 0; e < per_copy; ++e) {
        const bool valid = e < left && inside_ >> c & 1;
        copy_async<size>(stage, place(c) + e, valid ? source_[c] + k0 + e : source_[c], valid);
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

// The copies of both sides' samples, those of z behind those of x in a stage.
template <class T, int side>
class SampleCopies {
  using L = Layout<T, side>;

 public:
  __device__ __forceinline__ SampleCopies(const PairArguments<T>& a, int row0, int column0, int steps)
      : x_(a.x, a.width, a.wide, row0), z_(a.z, a.width, a.wide, column0), steps_(steps) {}

  __device__ __forceinline__ bool more() const { return started_ < steps_; }

  __device__ __forceinline__ void start(Shared<T> stage) {
    x_.start(stage, started_ * L::stage_columns);
    z_.start(stage.from(L::stage_size), started_ * L::stage_columns);
    ++started_;
  }

 private:
  StageCopy<T, side> x_, z_;
  int steps_, started_ = 0;
};

// tile[i][j] = x_{row0 + i} . z_{column0 + j}, in shared memory that the stages of the samples use first.
template <class T, int side>
__device__ __forceinline__ void multiply_tile(const PairArguments<T>& a, int row0, int column0, Shared<T> memory) {
  using L = Layout<T, side>;
  // At least one: samples of width 0 are a stage of zeros.
  const int steps = max(1, (a.width + L::stage_columns - 1) / L::stage_columns);
  SampleCopies<T, side> copies(a, row0, column0, steps);
  TileProduct<T, side> product;
  run_pipeline<L::stages, 2 * L::stage_size>(memory, copies, [&](Shared<T> stage, int step) {
    product.multiply(stage, stage.from(L::stage_size));
    return step + 1 < steps;
  });
  __syncthreads();
  product.store(memory);
  __syncthreads();
}

}  // namespace gatentk::cuda
