// Tiles in shared memory times each other, by every arithmetic.
#pragma once

#include <type_traits>

#include "cuda/device/lanes.cuh"
#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/tile/fragments.cuh"
#include "cuda/tile/sums.cuh"

namespace gatentk::cuda {

__device__ __forceinline__ float fused_multiply_add(float a, float b, float sum) {
  return __fmaf_rn(a, b, sum);
}
__device__ __forceinline__ double fused_multiply_add(double a, double b, double sum) {
  return __fma_rn(a, b, sum);
}

struct NothingBetween {
  __device__ __forceinline__ void operator()(int, int) const {}
};

// Multiplies the tiles of a stage and adds to the sums. Tensor cores: between(part, parts) is called between a tile's
// products, for part 0, 1, .. parts - 1.
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

// A step's fragments of both factors.
template <class Tile>
class StepFragments {
 public:
  using T = typename Tile::Element;
  static constexpr int steps = Fragments<Tile, Side::left>::steps;

  unsigned left[Tile::products_down][4], right[Tile::products_across][2];

  __device__ __forceinline__ void round() {
#pragma unroll
    for (auto& fragment : left)
#pragma unroll
      for (unsigned& element : fragment) element = to_tf32(element);
#pragma unroll
    for (auto& fragment : right)
#pragma unroll
      for (unsigned& element : fragment) element = to_tf32(element);
  }
};

// One product of bfloat16 or of floats that are rounded to TF32. The fragments of a step are loaded before the products
// of the one before: a warp has nothing else to do while it waits for them.
template <class Tile>
class SingleMultiplier {
 public:
  using T = typename Tile::Element;

  template <class Between = NothingBetween>
  __device__ __forceinline__ void operator()(Shared<T> left, Shared<T> right, Sums<Tile>& sums,
                                             Between&& between = {}) const {
    constexpr int steps = StepFragments<Tile>::steps;
    StepFragments<Tile> fragments[2];
    load(left, right, 0, fragments[0]);
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      StepFragments<Tile>& now = fragments[step % 2];
      if (step + 1 < steps) load(left, right, step + 1, fragments[(step + 1) % 2]);
      between(step, steps);
      if constexpr (Tile::arithmetic == Arithmetic::tf32) now.round();
#pragma unroll
      for (int m = 0; m < Tile::products_down; ++m)
#pragma unroll
        for (int n = 0; n < Tile::products_across; ++n) {
          float(&sum)[4] = sums.values[m * Tile::products_across + n];
          if constexpr (Tile::arithmetic == Arithmetic::tf32)
            mma_tf32(sum, now.left[m], now.right[n]);
          else
            mma_bf16(sum, now.left[m], now.right[n]);
        }
    }
  }

 private:
  __device__ __forceinline__ void load(Shared<T> left, Shared<T> right, int step, StepFragments<Tile>& to) const {
    right_.load_all(right, step, to.right);
    left_.load_all(left, step, to.left);
  }

  Fragments<Tile, Side::left> left_;
  Fragments<Tile, Side::right> right_;
};

template <class Tile>
class Multiplier<Tile, Arithmetic::bf16> : public SingleMultiplier<Tile> {};
template <class Tile>
class Multiplier<Tile, Arithmetic::tf32> : public SingleMultiplier<Tile> {};

// a b by three TF32 products: a = big + small up to 2^-24 of a, and small small is left out.
//
// A tensor core cuts products and sums off instead of rounding them. Errors of running sums would all point to
// zero: 4.6 times those of torch at 75 columns in the emulation, which cuts as sm_80 does, 150 times at 4096. So 16 k
// are summed from zero, their small terms first, and added to the sums by ordinary additions: two cuts of a short sum
// that matter (sm_80: four), for 6 products and 4 additions. The next fragments of the left factor are loaded before
// the products; for those of the right one, too, gram has no registers.
template <class Tile>
class Multiplier<Tile, Arithmetic::tf32x3> {
 public:
  template <class Between = NothingBetween>
  __device__ __forceinline__ void operator()(Shared<float> left, Shared<float> right, Sums<Tile>& sums,
                                             Between&& between = {}) const {
    between(0, 1);
    constexpr int pairs = Fragments<Tile, Side::left>::steps / 2;
    unsigned a[2][4];
    load_left(left, 0, 0, a);
#pragma unroll 1
    for (int i = 0; i < pairs; ++i) {
      unsigned big_b[2][Tile::products_across][2], small_b[2][Tile::products_across][2];
      unsigned b[2][Tile::products_across][2];
      load_right(right, i, b);
#pragma unroll
      for (int s = 0; s < 2; ++s)
#pragma unroll
        for (int n = 0; n < Tile::products_across; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) split_right(b[s][n][e], big_b[s][n][e], small_b[s][n][e]);
#pragma unroll
      for (int m = 0; m < Tile::products_down; ++m) {
        unsigned big_a[2][4], small_a[2][4];
#pragma unroll
        for (int s = 0; s < 2; ++s)
#pragma unroll
          for (int e = 0; e < 4; ++e) split_left(a[s][e], big_a[s][e], small_a[s][e]);
        // The last pair's next one is loaded for nothing: a branch would keep its products from overlapping.
        if (m + 1 < Tile::products_down)
          load_left(left, i, m + 1, a);
        else
          load_left(left, (i + 1) % pairs, 0, a);
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
  // Of 16 k, two steps.
  __device__ __forceinline__ void load_right(Shared<float> tile, int pair,
                                             unsigned (&b)[2][Tile::products_across][2]) const {
#pragma unroll
    for (int s = 0; s < 2; ++s) right_.load_all(tile, 2 * pair + s, b[s]);
  }
  __device__ __forceinline__ void load_left(Shared<float> tile, int pair, int m, unsigned (&a)[2][4]) const {
#pragma unroll
    for (int s = 0; s < 2; ++s) left_.load(tile, 2 * pair + s, m, &a[s]);
  }

  // Integer additions round the mantissa, as cvt.rna does in four instructions that spare NaN: here a NaN whose big
  // part overflows still arrives by its small part. Infinite elements leave NaN too, the difference of two infinities.
  static constexpr unsigned half = 0x1000u, kept = 0xffffe000u;

  // Left: big to nearest, so small has either sign and at most 12 significant bits, one more than a TF32 number. Cut
  // off instead of rounded, it makes errors of sums of few products, where both factors are gated, 1.2 times as large.
  // Its rounding spares NaN, the only part in which one may arrive.
  __device__ __forceinline__ static void split_left(unsigned element, unsigned& big, unsigned& small) {
    big = (element + half) & kept;
    small = to_tf32(__float_as_uint(__uint_as_float(element) - __uint_as_float(big)));
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

  Fragments<Tile, Side::left> left_;
  Fragments<Tile, Side::right> right_;
};

// m8n8k4 products of doubles, two of a step's k each.
template <class Tile>
class Multiplier<Tile, Arithmetic::f64> {
 public:
  template <class Between = NothingBetween>
  __device__ __forceinline__ void operator()(Shared<double> left, Shared<double> right, Sums<Tile>& sums,
                                             Between&& between = {}) const {
    constexpr int steps = DoubleFragments<Tile, Side::left>::steps;
    double a[2][Tile::products_down][2], b[2][Tile::products_across][2];
    right_.load_all(right, 0, b[0]);
    left_.load_all(left, 0, a[0]);
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      if (step + 1 < steps) {
        right_.load_all(right, step + 1, b[(step + 1) % 2]);
        left_.load_all(left, step + 1, a[(step + 1) % 2]);
      }
      between(step, steps);
#pragma unroll
      for (int s = 0; s < 2; ++s)
#pragma unroll
        for (int m = 0; m < Tile::products_down; ++m)
#pragma unroll
          for (int n = 0; n < Tile::products_across; ++n)
            mma_f64(sums.values[m * Tile::products_across + n], a[step % 2][m][s], b[step % 2][n][s]);
    }
  }

 private:
  DoubleFragments<Tile, Side::left> left_;
  DoubleFragments<Tile, Side::right> right_;
};

}  // namespace gatentk::cuda
