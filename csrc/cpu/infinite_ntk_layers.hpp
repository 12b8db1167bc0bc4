// A strip of pairs from one layer to the next, in registers.
//
// Carried are complements, never cosines: eps_l = 1 - cos theta_l. With r = sqrt(eps_l),
//   theta_l / pi = tau_l = r arc(eps_l),   eps_{l+1} = eps_l - eps_l r drop(eps_l).
#pragma once

#include <cstdint>

#include "cpu/packing_kernel.hpp"
#include "cpu/simd.hpp"
#include "gatentk/arc_polynomials.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// Pairs are taken in strips of six vectors, two rows of a tile or one of the widest: the two polynomials of a layer
// are then twelve independent chains, enough to keep two FMA units busy.
constexpr int strip_vectors = 6;
constexpr int strip_rows = strip_vectors / panel_vectors;

template <class T>
using Strip = Vector<T>[strip_vectors];

template <class T>
struct Coefficients;
template <>
struct Coefficients<double> {
  static constexpr const auto& arc = arc_f64;
  static constexpr const auto& drop = drop_f64;
  static constexpr const auto& arc_degree = arc_f64_degree;
  static constexpr const auto& drop_degree = drop_f64_degree;
};
template <>
struct Coefficients<float> {
  static constexpr const auto& arc = arc_f32;
  static constexpr const auto& drop = drop_f32;
  static constexpr const auto& arc_degree = arc_f32_degree;
  static constexpr const auto& drop_degree = drop_f32_degree;
};

// Horner for all vectors of a strip at once.
template <class T, int degree>
static GATENTK_INLINE void polynomial(const T* coefficient, const Strip<T>& x, Strip<T>& y) {
#pragma GCC unroll 8
  for (int v = 0; v < strip_vectors; ++v) y[v] = broadcast(coefficient[0]);
#pragma GCC unroll 32
  for (int power = 1; power <= degree; ++power) {
    const Vector<T> next = broadcast(coefficient[power]);
#pragma GCC unroll 8
    for (int v = 0; v < strip_vectors; ++v) y[v] = y[v] * x[v] + next;
  }
}

// tau = theta/pi and the eps of the next layer; `level` names the polynomials for the range of eps. The roots come
// first: the divider then works beside the polynomials instead of after them.
template <class T, int level>
static GATENTK_INLINE void advance_level(const Strip<T>& eps, Strip<T>& tau, Strip<T>& next) {
  using C = Coefficients<T>;
  Strip<T> root, arc, drop;
#pragma GCC unroll 8
  for (int v = 0; v < strip_vectors; ++v) {
    root[v] = square_root(eps[v]);
    keep_order(root[v]);
  }
  polynomial<T, C::drop_degree[level]>(C::drop[level], eps, drop);
#pragma GCC unroll 8
  for (int v = 0; v < strip_vectors; ++v) drop[v] *= eps[v] * root[v];
  polynomial<T, C::arc_degree[level]>(C::arc[level], eps, arc);
#pragma GCC unroll 8
  for (int v = 0; v < strip_vectors; ++v) {
    tau[v] = root[v] * arc[v];
    next[v] = eps[v] - drop[v];
  }
}

// Layer l to l + 1, for l >= 1 (angles of at most pi/2; eps_l of layers 0 and 1 may be anything up to 1).
template <class T>
static GATENTK_INLINE void advance(std::int64_t layer, Strip<T>& eps, Strip<T>& tau) {
  static_assert(arc_levels == 5);
  Strip<T> next;
  if (layer >= 5)
    advance_level<T, 4>(eps, tau, next);
  else if (layer == 4)
    advance_level<T, 3>(eps, tau, next);
  else if (layer == 3)
    advance_level<T, 2>(eps, tau, next);
  else if (layer == 2)
    advance_level<T, 1>(eps, tau, next);
  else
    advance_level<T, 0>(eps, tau, next);
  for (int v = 0; v < strip_vectors; ++v) eps[v] = next[v];
}

// Layer 0 to 1: `eps` comes as 1 - |cos theta_0|, and angles above pi/2 are seen from pi.
template <class T>
static GATENTK_INLINE void advance_input(const Strip<T>& cosine, Strip<T>& eps, Strip<T>& tau) {
  Strip<T> next;
  advance_level<T, 0>(eps, tau, next);
  const Vector<T> one = broadcast(T(1));
  for (int v = 0; v < strip_vectors; ++v) {
    const auto obtuse = cosine[v] < 0;
    tau[v] = obtuse ? one - tau[v] : tau[v];
    eps[v] = obtuse ? one - (eps[v] - next[v]) : next[v];
  }
}

}  // namespace gatentk::cpu::GATENTK_ISA
