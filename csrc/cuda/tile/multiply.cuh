// Tiles in shared memory times each other, by every arithmetic.
#pragma once

#include <type_traits>

#include "cuda/device/lanes.cuh"
#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/tile/sums.cuh"

namespace gatentk::cuda {

__device__ __forceinline__ float fused_multiply_add(float a, float b, float sum) {
  return __fmaf_rn(a, b, sum);
}
__device__ __forceinline__ double fused_multiply_add(double a, double b, double sum) {
  return __fma_rn(a, b, sum);
}

// Multiplies the tiles of a stage and adds to the sums.
template <class Tile, Arithmetic arithmetic = Tile::arithmetic>
class Multiplier;

// Ordinary cores: four (double: two) k of all rows of this thread at once, then column by column: 16 loads of 16 bytes
// for 256 multiply-adds of 8 x 8 sums. k rises, so a sum that is never flushed is one chain over rising k.
template <class Tile>
class Multiplier<Tile, Arithmetic::fma> {
 public:
  using T = typename Tile::Element;
  using Vector = std::conditional_t<std::is_same_v<T, double>, double2, float4>;

  __device__ __forceinline__ Multiplier()
      : row_(Sums<Tile>::row(0)),
        column_(Sums<Tile>::column(0)),
        swizzle_(swizzle(row_)),
        column_swizzle_(swizzle(column_)) {}

  __device__ __forceinline__ void operator()(Shared<T> left, Shared<T> right, Sums<Tile>& sums) const {
#pragma unroll 2
    for (int c = 0; c < 8; ++c) {
      Vector a[Tile::sums_down];
#pragma unroll
      for (int i = 0; i < Tile::sums_down; ++i)
        a[i] = left.template load<Vector>((row_ + i * row_step) * Tile::depth + (c ^ swizzle_) * Tile::chunk);
#pragma unroll
      for (int j = 0; j < Tile::sums_across; ++j) {
        const Vector b = right.template load<Vector>((column_ + j * column_step) * Tile::depth +
                                                     (c ^ column_swizzle_) * Tile::chunk);
#pragma unroll
        for (int i = 0; i < Tile::sums_down; ++i) add(sums.at(i, j), a[i], b);
      }
    }
  }

 private:
  static constexpr int row_step = 4 * Tile::warps_down, column_step = 8 * Tile::warps_across;
  static_assert(row_step % 8 == 0);  // all rows of a thread have one swizzle

  __device__ __forceinline__ static void add(float& sum, float4 a, float4 b) {
    sum = fused_multiply_add(a.x, b.x, sum);
    sum = fused_multiply_add(a.y, b.y, sum);
    sum = fused_multiply_add(a.z, b.z, sum);
    sum = fused_multiply_add(a.w, b.w, sum);
  }
  __device__ __forceinline__ static void add(double& sum, double2 a, double2 b) {
    sum = fused_multiply_add(a.x, b.x, sum);
    sum = fused_multiply_add(a.y, b.y, sum);
  }

  int row_, column_, swizzle_, column_swizzle_;
};

// Fragments of m16n8 products by matrix loads, for bfloat16 and, as pairs of 16 bits, for TF32: a step takes two
// 16-byte chunks of every row.
template <class Tile>
class Fragments {
 public:
  using T = typename Tile::Element;
  static constexpr int steps = 4;  // of a tile

  // Lane l gives the address of row l % 8 of matrix l / 8: the four matrices of a left fragment are rows 0-7 and 8-15
  // of chunk 0, then of chunk 1; those of two right fragments chunks 0 and 1 of columns 0-7, then of columns 8-15.
  __device__ __forceinline__ Fragments() {
    const int lane = lane_index(), warp = warp_index();
    const int row = warp / Tile::warps_across * (Tile::rows / Tile::warps_down) + lane % 16;
    const int column = warp % Tile::warps_across * (Tile::columns / Tile::warps_across) + lane / 16 * 8 + lane % 8;
    left_ = row * Tile::depth;
    right_ = column * Tile::depth;
    left_chunk_ = lane / 16 ^ swizzle(lane);
    right_chunk_ = lane / 8 % 2 ^ swizzle(lane);
  }

  // Rows 16 m .. 16 m + 15 of the warp's part.
  __device__ __forceinline__ void load_left(Shared<T> tile, int step, int m, unsigned (&a)[4]) const {
    load_matrix_x4(a, tile, left_ + m * 16 * Tile::depth + (2 * step ^ left_chunk_) * Tile::chunk);
  }
  // Columns 16 n .. 16 n + 15.
  __device__ __forceinline__ void load_right(Shared<T> tile, int step, int n, unsigned (&b)[4]) const {
    load_matrix_x4(b, tile, right_ + n * 16 * Tile::depth + (2 * step ^ right_chunk_) * Tile::chunk);
  }

 private:
  int left_, right_, left_chunk_, right_chunk_;
};

template <class Tile>
class Multiplier<Tile, Arithmetic::bf16> {
 public:
  __device__ __forceinline__ void operator()(Shared<Bfloat16> left, Shared<Bfloat16> right, Sums<Tile>& sums) const {
#pragma unroll
    for (int step = 0; step < Fragments<Tile>::steps; ++step) {
      unsigned b[Tile::products_across][2];
#pragma unroll
      for (int n = 0; n < Tile::products_across; n += 2) {
        unsigned pair[4];
        fragments_.load_right(right, step, n / 2, pair);
        b[n][0] = pair[0], b[n][1] = pair[1], b[n + 1][0] = pair[2], b[n + 1][1] = pair[3];
      }
#pragma unroll
      for (int m = 0; m < Tile::products_down; ++m) {
        unsigned a[4];
        fragments_.load_left(left, step, m, a);
#pragma unroll
        for (int n = 0; n < Tile::products_across; ++n) mma_bf16(sums.values[m * Tile::products_across + n], a, b[n]);
      }
    }
  }

 private:
  Fragments<Tile> fragments_;
};

// The bits of the nearest TF32 number in what the tensor core keeps of them; NaN and infinity as they are. Two
// instructions: cvt.rna takes four, because it clears the rest as well.
__device__ __forceinline__ unsigned round_to_tf32(unsigned element) {
  return fabsf(__uint_as_float(element)) < __uint_as_float(0x7f800000u) ? element + 0x1000u : element;
}

// One TF32 product of rounded elements.
template <class Tile>
class Multiplier<Tile, Arithmetic::tf32> {
 public:
  __device__ __forceinline__ void operator()(Shared<float> left, Shared<float> right, Sums<Tile>& sums) const {
#pragma unroll
    for (int step = 0; step < Fragments<Tile>::steps; ++step) {
      unsigned b[Tile::products_across][2];
#pragma unroll
      for (int n = 0; n < Tile::products_across; n += 2) {
        unsigned pair[4];
        fragments_.load_right(right, step, n / 2, pair);
#pragma unroll
        for (int e = 0; e < 4; ++e) b[n + e / 2][e % 2] = round_to_tf32(pair[e]);
      }
#pragma unroll
      for (int m = 0; m < Tile::products_down; ++m) {
        unsigned a[4];
        fragments_.load_left(left, step, m, a);
#pragma unroll
        for (unsigned& element : a) element = round_to_tf32(element);
#pragma unroll
        for (int n = 0; n < Tile::products_across; ++n) mma_tf32(sums.values[m * Tile::products_across + n], a, b[n]);
      }
    }
  }

 private:
  Fragments<Tile> fragments_;
};

// a b by three TF32 products: a = big + small up to 2^-24 of a, and small small is left out.
//
// A tensor core cuts its sums off instead of rounding them. Errors of running sums would all point to zero: 3.4 times
// those of torch at 75 columns in the emulation, which rounds that way. So 16 k are summed from zero, their small terms
// first, and added to the sums by ordinary additions: two cuts of a short sum that matter, for 6 products and 4
// additions.
template <class Tile>
class Multiplier<Tile, Arithmetic::tf32x3> {
 public:
  __device__ __forceinline__ void operator()(Shared<float> left, Shared<float> right, Sums<Tile>& sums) const {
#pragma unroll 1
    for (int step = 0; step < Fragments<Tile>::steps; step += 2) {
      unsigned big_b[2][Tile::products_across][2], small_b[2][Tile::products_across][2];
#pragma unroll
      for (int s = 0; s < 2; ++s)
#pragma unroll
        for (int n = 0; n < Tile::products_across; n += 2) {
          unsigned pair[4];
          fragments_.load_right(right, step + s, n / 2, pair);
#pragma unroll
          for (int e = 0; e < 4; ++e) split_right(pair[e], big_b[s][n + e / 2][e % 2], small_b[s][n + e / 2][e % 2]);
        }
#pragma unroll
      for (int m = 0; m < Tile::products_down; ++m) {
        unsigned big_a[2][4], small_a[2][4];
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          unsigned a[4];
          fragments_.load_left(left, step + s, m, a);
#pragma unroll
          for (int e = 0; e < 4; ++e) split_left(a[e], big_a[s][e], small_a[s][e]);
        }
        float part[Tile::products_across][4] = {};
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          multiply_row(part, small_a[s], big_b[s]);
          multiply_row(part, big_a[s], small_b[s]);
        }
#pragma unroll
        for (int s = 0; s < 2; ++s) multiply_row(part, big_a[s], big_b[s]);
#pragma unroll
        for (int n = 0; n < Tile::products_across; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e) sums.values[m * Tile::products_across + n][e] += part[n][e];
      }
    }
  }

 private:
  // Integer additions round the mantissa, as cvt.rna does in four instructions that spare NaN: here a NaN whose big
  // part overflows still arrives by its small part. Infinite elements leave NaN too, the difference of two infinities.
  static constexpr unsigned half = 0x1000u, kept = 0xffffe000u;

  // Left: big to nearest, so small has either sign and at most 12 significant bits; the tensor core cuts off the last,
  // which favours neither sign of x and costs no instruction.
  __device__ __forceinline__ static void split_left(unsigned element, unsigned& big, unsigned& small) {
    big = (element + half) & kept;
    small = __float_as_uint(__uint_as_float(element) - __uint_as_float(big));
  }

  // Right: big cut off, the rest to nearest. The products small small that are left out have either sign then; with the
  // same split on both sides they are squares on the diagonal of a Gram matrix, and a third of its error.
  __device__ __forceinline__ static void split_right(unsigned element, unsigned& big, unsigned& small) {
    big = element & kept;
    small = __float_as_uint(__uint_as_float(element) - __uint_as_float(big)) + half;
  }

  __device__ __forceinline__ static void multiply_row(float (&row)[Tile::products_across][4], const unsigned (&a)[4],
                                                      const unsigned (&b)[Tile::products_across][2]) {
#pragma unroll
    for (int n = 0; n < Tile::products_across; ++n) mma_tf32(row[n], a, b[n]);
  }

  Fragments<Tile> fragments_;
};

// m8n8k4 products of doubles. A load of 16 bytes gives a lane two neighbouring k; the first of the two products takes
// the even k of eight, the second the odd ones, of both factors: the order of a sum is free.
template <class Tile>
class Multiplier<Tile, Arithmetic::f64> {
 public:
  __device__ __forceinline__ Multiplier() {
    const int warp = warp_index(), row = lane_index() / 4;
    left_ = (warp / Tile::warps_across * (Tile::rows / Tile::warps_down) + row) * Tile::depth;
    right_ = (warp % Tile::warps_across * (Tile::columns / Tile::warps_across) + row) * Tile::depth;
    chunk_ = lane_index() % 4 ^ swizzle(row);
  }

  __device__ __forceinline__ void operator()(Shared<double> left, Shared<double> right, Sums<Tile>& sums) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int k = (4 * half ^ chunk_) * Tile::chunk;
      double2 b[Tile::products_across];
#pragma unroll
      for (int n = 0; n < Tile::products_across; ++n)
        b[n] = right.template load<double2>(right_ + n * 8 * Tile::depth + k);
#pragma unroll
      for (int m = 0; m < Tile::products_down; ++m) {
        const double2 a = left.template load<double2>(left_ + m * 8 * Tile::depth + k);
#pragma unroll
        for (int n = 0; n < Tile::products_across; ++n) {
          mma_f64(sums.values[m * Tile::products_across + n], a.x, b[n].x);
          mma_f64(sums.values[m * Tile::products_across + n], a.y, b[n].y);
        }
      }
    }
  }

 private:
  int left_, right_, chunk_;
};

}  // namespace gatentk::cuda
