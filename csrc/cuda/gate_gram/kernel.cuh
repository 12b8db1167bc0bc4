// count[i][j] = popcount(a_i & b_j): a product of matrices of bits, by one-bit tensor cores or by POPC.
#pragma once

#include <cstdint>

#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/gate_gram/configurations.hpp"
#include "cuda/tile/order.cuh"
#include "gatentk/views.hpp"

namespace gatentk::cuda {

struct GateGramArguments {
  GateView rows, columns;
  int row_count, column_count;
  std::int64_t row_bytes;
  bool symmetric;
  std::int32_t* out;
};

// 64 bytes of the rows from row0 on, zeros beyond the matrix.
template <class Layout>
__device__ __forceinline__ void copy_bits(Shared<unsigned> stage, const GateView& gates, int rows,
                                          std::int64_t row_bytes, int row0, std::int64_t byte0) {
  constexpr int side = Layout::stage_size / Layout::pitch, copies = Layout::stage_words / 4;
#pragma unroll
  for (int copy = 0; copy < side * copies; copy += Layout::threads) {
    const int r = (copy + threadIdx.x) / copies, group = (copy + threadIdx.x) % copies;
    const std::int64_t byte = byte0 + 16 * group;
    const bool inside = row0 + r < rows && byte < row_bytes;
    const std::uint8_t* source = inside ? gates.bits + (row0 + r) * gates.stride + byte : gates.bits;
    copy_async<16>(stage, r * Layout::pitch + 4 * group, reinterpret_cast<const unsigned*>(source), inside ? 16 : 0);
  }
}

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
  const int steps = static_cast<int>((a.row_bytes + 4 * L::stage_words - 1) / (4 * L::stage_words));
  TileCounts<side, tensor> counts;
  const auto stage_of = [&](int step) { return memory.from(step % L::stages * 2 * L::stage_size); };
  const auto copy = [&](int step) {
    if (step < steps) {
      const std::int64_t byte = std::int64_t{step} * 4 * L::stage_words;
      copy_bits<L>(stage_of(step), a.rows, a.row_count, a.row_bytes, row0, byte);
      copy_bits<L>(stage_of(step).from(L::stage_size), a.columns, a.column_count, a.row_bytes, column0, byte);
    }
    commit_copies();  // also without copies: a group per step keeps the count that wait_copies sees
  };
  for (int step = 0; step < L::stages - 1; ++step) copy(step);
  for (int step = 0; step < steps; ++step) {
    wait_copies<L::stages - 2>();
    __syncthreads();  // this step has arrived, and the stage that is filled next is no longer read
    copy(step + L::stages - 1);
    counts.add(stage_of(step), stage_of(step).from(L::stage_size));
  }
  wait_copies<0>();
  // Eight lanes of a fragment hold one column of eight rows: the mirrored half too goes out in sectors of 32 bytes.
  counts.for_each([&](int r, int c, int count) {
    const int i = row0 + r, j = column0 + c;
    if (i >= a.row_count || j >= a.column_count || (a.symmetric && j < i)) return;
    a.out[std::int64_t{i} * a.column_count + j] = count;
    if (a.symmetric && j > i) a.out[std::int64_t{j} * a.column_count + i] = count;
  });
}

}  // namespace gatentk::cuda
