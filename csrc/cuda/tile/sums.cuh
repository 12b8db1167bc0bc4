// A thread's share of a block's sums, in registers and in shared memory.
#pragma once

#include <type_traits>

#include "cuda/device/lanes.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/tile/shape.cuh"

namespace gatentk::cuda {

// A thread's sums of a block's rows x columns outputs, and where they lie in it.
template <class Tile>
struct Sums {
  using Sum = typename Tile::Sum;

  // One row for each product of the tensor cores; fma: for each row of outputs.
  static constexpr int parts = Tile::tensor ? Tile::products_down * Tile::products_across : Tile::products_down;
  Sum values[parts][Tile::sums / parts];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int p = 0; p < parts; ++p)
#pragma unroll
      for (int e = 0; e < Tile::sums / parts; ++e) values[p][e] = 0;
  }

  __device__ __forceinline__ void fill(Sum value) {
#pragma unroll
    for (int e = 0; e < Tile::sums; ++e) flat(e) = value;
  }

  // All of them in a row, and the place of (i, j) in it. A thread's columns of a product are two neighbours; of
  // column_run products that share loads, the first of all and then the second of all are neighbours.
  __device__ __forceinline__ static constexpr int flat_index(int i, int j) {
    if constexpr (!Tile::tensor) return i * Tile::sums_across + j;
    constexpr int run = Tile::column_run, halves = Tile::product_sums == 4 ? 2 : 1;
    const int across = j / (2 * run) * run + j % run, second = j / run % 2;
    return (i / halves * Tile::products_across + across) * Tile::product_sums + i % halves * 2 + second;
  }
  __device__ __forceinline__ Sum& flat(int e) { return values[e / (Tile::sums / parts)][e % (Tile::sums / parts)]; }

  // Sum (i, j) of this thread, i < sums_down and j < sums_across.
  __device__ __forceinline__ Sum& at(int i, int j) { return flat(flat_index(i, j)); }

  // Rows between sums (i, j) and (i + 1, j), where all are as far apart.
  static constexpr int row_step = Tile::tensor ? 8 : 4 * Tile::warps_down;
  // Sums (i, j), (i, j + 1) ... of this many from a multiple of it on are of neighbouring columns; the first is a
  // multiple of it as well.
  static constexpr int column_group = Tile::tensor ? 2 * Tile::column_run : 1;

  // Row of sums (i, .) and column of sums (., j) in the block. Tensor cores give a thread two neighbouring columns,
  // where column_run is 2 four, and where row_run is 2 two neighbouring rows; fma threads lie 4 x 8 in a warp, and a
  // thread's outputs as many rows and columns apart as there are threads.
  __device__ __forceinline__ static int row(int i) {
    const int warp = warp_index() / Tile::warps_across;
    if constexpr (!Tile::tensor) return warp * 4 + lane_index() / 8 + row_offset(i);
    return warp * (Tile::rows / Tile::warps_down) + lane_index() / 4 * Tile::row_run + row_offset(i);
  }
  __device__ __forceinline__ static int column(int j) {
    const int warp = warp_index() % Tile::warps_across;
    if constexpr (!Tile::tensor) return warp * 8 + lane_index() % 8 + column_offset(j);
    return warp * (Tile::columns / Tile::warps_across) + lane_index() % 4 * column_group + column_offset(j);
  }
  __device__ __forceinline__ static constexpr int row_offset(int i) {
    return i / Tile::row_run * Tile::row_run * row_step + i % Tile::row_run;
  }
  __device__ __forceinline__ static constexpr int column_offset(int j) {
    return Tile::tensor ? j / column_group * 4 * column_group + j % column_group : j * 8 * Tile::warps_across;
  }
};

// A second set of a thread's sums, in shared memory: 16 bytes of every thread lie next to each other, so that its loads
// and stores meet no bank conflict.
template <class Tile>
class SharedSums {
 public:
  using Sum = typename Tile::Sum;
  static constexpr int elements = Tile::sums * Tile::threads;

  __device__ __forceinline__ explicit SharedSums(Shared<Sum> memory) : memory_(memory) {}

  // Adds sums and a constant; what was there before counts as 0 if `first`.
  __device__ __forceinline__ void add(Sums<Tile>& sums, Sum constant, bool first) const {
#pragma unroll
    for (int e = 0; e < Tile::sums; e += in_vector) {
      const int at = e * Tile::threads + static_cast<int>(threadIdx.x) * in_vector;
      Vector vector{};
      if (!first) vector = memory_.template load<Vector>(at);
      Sum values[in_vector];
      unpack(vector, values);
#pragma unroll
      for (int i = 0; i < in_vector; ++i) values[i] += sums.flat(e + i) + constant;
      memory_.store(at, pack(values));
    }
  }

  // Sum e of this thread.
  __device__ __forceinline__ Sum at(int e) const {
    return memory_[e / in_vector * in_vector * Tile::threads + static_cast<int>(threadIdx.x) * in_vector +
                   e % in_vector];
  }

 private:
  static constexpr int in_vector = 16 / static_cast<int>(sizeof(Sum));
  using Vector = std::conditional_t<std::is_same_v<Sum, double>, double2, float4>;

  __device__ __forceinline__ static void unpack(float4 v, float (&values)[4]) {
    values[0] = v.x, values[1] = v.y, values[2] = v.z, values[3] = v.w;
  }
  __device__ __forceinline__ static void unpack(double2 v, double (&values)[2]) { values[0] = v.x, values[1] = v.y; }
  __device__ __forceinline__ static float4 pack(const float (&v)[4]) { return make_float4(v[0], v[1], v[2], v[3]); }
  __device__ __forceinline__ static double2 pack(const double (&v)[2]) { return make_double2(v[0], v[1]); }

  Shared<Sum> memory_;
};

}  // namespace gatentk::cuda
