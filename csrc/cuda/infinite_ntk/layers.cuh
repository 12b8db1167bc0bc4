// A strip of pairs from one layer to the next.
//
// The recurrences are those of cpu/infinite_ntk_kernel.hpp, in complements: eps_l = 1 - cos theta_l. With r =
// sqrt(eps_l),
//   theta_l / pi = tau_l = r arc(eps_l),   eps_{l+1} = eps_l - eps_l r drop(eps_l).
#pragma once

#include <utility>

#include "cuda/device/ptx.cuh"
#include "gatentk/arc_polynomials.hpp"

namespace gatentk::cuda {

// A strip: eight rows by the 32 columns of a warp, eight pairs to a lane. The two polynomials of a layer are then 16
// independent chains, enough to hide the latency of FMA (4 cycles, 8 in double) with one warp to a scheduler.
constexpr int strip = 8;

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

// 1 / sqrt(x) of an x > 0, to about 1.5 ulp.
__device__ __forceinline__ double inverse_root(double x) {
  const double inverse = approximate_rsqrt(x), error = fma(-x * inverse, inverse, 1.0);
  return fma(inverse * error, fma(error, 0.375, 0.5), inverse);
}

// a / b of a b > 0, to about an ulp, without the branches of a division: they would keep the pairs of a strip apart.
__device__ __forceinline__ double ratio(double a, double b) {
  const double root = inverse_root(b), inverse = root * root, first = a * inverse;
  return fma(fma(-b, first, a), inverse, first);
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

}  // namespace gatentk::cuda
