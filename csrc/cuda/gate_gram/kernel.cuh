// count[i][j] = popcount(a_i & b_j): a product of matrices of bits, by one-bit tensor cores or by POPC.
#pragma once

#include <cstdint>

#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/gate_gram/configurations.hpp"
#include "cuda/tile/order.cuh"
#include "cuda/tile/pipeline.cuh"
#include "gatentk/views.hpp"

namespace gatentk::cuda {

struct GateGramArguments {
  GateView rows, columns;
  int row_count, column_count;
  std::int64_t row_bytes;
  bool symmetric;
  std::int32_t* out;
};

// Copies of one side's bits into stages, 64 bytes of every row of the tile, zeros beyond the matrix. A thread always
// has the same rows and the same place in a stage.
template <class Layout>
class SideCopy {
 public:
  __device__ __forceinline__ SideCopy(const GateView& gates, int rows, int row0)
      : gates_(gates), source_(gates.bits + (row0 + row()) * gates.stride + byte()), rows_left_(rows - row0 - row()) {}

  // The next 64 bytes of every row, of which `left` are there.
  __device__ __forceinline__ void start(Shared<unsigned> stage, int left) {
    const int rows_left = byte() < left ? rows_left_ : 0;
    const std::uint8_t* from = source_;
#pragma unroll
    for (int r = 0; r < side; r += rows_at_once) {
      copy_async<16>(stage, (r + row()) * Layout::pitch + byte() / 4, reinterpret_cast<const unsigned*>(from),
                     r < rows_left);
      from += rows_at_once * gates_.stride;
    }
    source_ += 4 * Layout::stage_words;
  }

 private:
  static constexpr int side = Layout::stage_size / Layout::pitch, copies = Layout::stage_words / 4;  // of a row
  static constexpr int rows_at_once = Layout::threads / copies;
  static_assert(Layout::threads % copies == 0 && side % rows_at_once == 0);

  static __device__ __forceinline__ int row() { return static_cast<int>(threadIdx.x) / copies; }
  static __device__ __forceinline__ int byte() { return static_cast<int>(threadIdx.x) % copies * 16; }

  const GateView& gates_;  // a parameter of the kernel: read where needed, not held in registers
  const std::uint8_t* source_;
  int rows_left_;  // from this thread's first row on
};

// Copies of both sides' bits, those of the columns behind those of the rows in a stage.
template <class Layout>
class BitCopies {
 public:
  __device__ __forceinline__ BitCopies(const GateGramArguments& a, int row0, int column0)
      : rows_(a.rows, a.row_count, row0),
        columns_(a.columns, a.column_count, column0),
        left_(static_cast<int>(a.row_bytes)) {}

  __device__ __forceinline__ bool more() const { return left_ > 0; }

  __device__ __forceinline__ void start(Shared<unsigned> stage) {
    rows_.start(stage, left_);
    columns_.start(stage.from(Layout::stage_size), left_);
    left_ -= 4 * Layout::stage_words;
  }

 private:
  SideCopy<Layout> rows_, columns_;
  int left_;  // bytes of a row that are not copied yet
};

// Counts of a tile in the registers of a block: every thread adds up its own and calls write(row, column, count).
template <int side, bool tensor>
class TileCounts;

template <int side>
class TileCounts<side, true> {
  using L = GateGramLayout<side, true>;

 public:
  __device__ __forceinline__ void add(Shared<unsigned> a, Shared<unsigned> b) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < L::stage_words; k += 8) {
      unsigned left[rows][4], right[columns][2];
#pragma unroll
      for (int r = 0; r < rows; ++r)
        load_matrix_x4(left[r], a, (first_row() + 16 * r + lane % 16) * L::pitch + k + lane / 16 * 4);
#pragma unroll
      for (int c = 0; c < columns; c += 2) {
        unsigned both[4];
        load_matrix_x4(both, b, (first_column() + 8 * c + lane % 8 + lane / 16 * 8) * L::pitch + k + lane / 8 % 2 * 4);
#pragma unroll
        for (int e = 0; e < 4; ++e) right[c + e / 2][e % 2] = both[e];
      }
#pragma unroll
      for (int r = 0; r < rows; ++r)
#pragma unroll
        for (int c = 0; c < columns; ++c) mma_and_popc(count_[r][c], left[r], right[c]);
    }
  }

  template <class Write>
  __device__ __forceinline__ void for_each(Write&& write) const {
    const int group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < rows; ++r)
#pragma unroll
      for (int c = 0; c < columns; ++c)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          write(first_row() + 16 * r + group + e / 2 * 8, first_column() + 8 * c + 2 * member + e % 2, count_[r][c][e]);
  }

 private:
  // In fragments of 16 x 8 counts.
  static constexpr int rows = side / 32, columns = 4;
  static constexpr int warps_across = side / 32;

  static __device__ __forceinline__ int first_row() { return threadIdx.x / 32 / warps_across * (side / 2); }
  static __device__ __forceinline__ int first_column() { return threadIdx.x / 32 % warps_across * 32; }

  int count_[rows][columns][4] = {};
};

// A warp's lanes are 4 threads down by 8 across; a thread has every (side/4)-th row and column.
template <int side>
class TileCounts<side, false> {
  using L = GateGramLayout<side, false>;

 public:
  __device__ __forceinline__ void add(Shared<unsigned> a, Shared<unsigned> b) {
#pragma unroll
    for (int k = 0; k < L::stage_words; k += 4) {
      uint4 right[width];
#pragma unroll
      for (int c = 0; c < width; ++c) right[c] = b.load<uint4>((column() + c * step) * L::pitch + k);
#pragma unroll
      for (int r = 0; r < width; ++r) {
        const uint4 left = a.load<uint4>((row() + r * step) * L::pitch + k);
#pragma unroll
        for (int c = 0; c < width; ++c) count_[r][c] += common(left, right[c]);
      }
    }
  }

  template <class Write>
  __device__ __forceinline__ void for_each(Write&& write) const {
#pragma unroll
    for (int r = 0; r < width; ++r)
#pragma unroll
      for (int c = 0; c < width; ++c) write(row() + r * step, column() + c * step, count_[r][c]);
  }

 private:
  static constexpr int width = 4, step = side / width, warps_across = step / 8;

  static __device__ __forceinline__ int row() { return threadIdx.x / 32 / warps_across * 4 + threadIdx.x % 32 / 8; }
  static __device__ __forceinline__ int column() { return threadIdx.x / 32 % warps_across * 8 + threadIdx.x % 8; }

  // POPC issues at a quarter of the rate of LOP3, so a full adder turns three words into two: 3 POPC instead of 4 and
  // 8 other instructions for 128 bits.
  static __device__ __forceinline__ int common(const uint4& a, const uint4& b) {
    const unsigned x = a.x & b.x, y = a.y & b.y, z = a.z & b.z;
    const unsigned ones = x ^ y ^ z, twos = (x & y) | (x & z) | (y & z);
    return __popc(ones) + __popc(a.w & b.w) + 2 * __popc(twos);
  }

  int count_[width][width] = {};
};

template <int side, bool tensor>
__global__ void __launch_bounds__(GateGramLayout<side, tensor>::threads) gate_gram_tile(const GateGramArguments a) {
  using L = GateGramLayout<side, tensor>;
  SharedArena arena;
  const Shared<unsigned> memory = arena.take<unsigned>(L::shared_size);
  const int2 tile = tile_of_block(a.symmetric, (a.column_count + side - 1) / side);
  const int row0 = tile.x * side, column0 = tile.y * side;
  constexpr int stage_bytes = 4 * L::stage_words;
  BitCopies<L> copies(a, row0, column0);
  TileCounts<side, tensor> counts;
  run_pipeline<L::stages, 2 * L::stage_size>(memory, copies, [&](Shared<unsigned> stage, int step) {
    if (step * stage_bytes < a.row_bytes) counts.add(stage, stage.from(L::stage_size));
    return (step + 1) * stage_bytes < a.row_bytes;
  });
  // Eight lanes of a fragment hold one column of eight rows: the mirrored half too goes out in sectors of 32 bytes.
  counts.for_each([&](int r, int c, int count) {
    const int i = row0 + r, j = column0 + c;
    if (i >= a.row_count || j >= a.column_count || (a.symmetric && j < i)) return;
    a.out[std::int64_t{i} * a.column_count + j] = count;
    if (a.symmetric && j > i) a.out[std::int64_t{j} * a.column_count + i] = count;
  });
}

}  // namespace gatentk::cuda
