// Kernels of networks with weight and bias variances: leaky ReLU (ReLU, absolute value), erf and GELU.
//
// Pre-activations of two samples have variances q_x, q_z and the angle theta. An activation makes variances a_x, a_z
// and an angle theta' of them, and a bias b^2 adds to both: in the plane of a sample, with (cos psi, sin psi) = (sqrt
// a, b) / sqrt(a + b^2) and p = tan(psi / 2),
//   1 - cos = cos psi_x cos psi_z (1 - cos theta') + 1 - cos(psi_x - psi_z),
//   1 - cos(psi_x - psi_z) = 2 (p_x - p_z)^2 n_x n_z,   n = 1 / (1 + p^2),
// sums of non-negative terms. p is kept as a sum of two numbers, so that its differences are as exact as it is itself.
// Small angles are relatively exact where the activation is piecewise linear; erf and GELU, whose kernels are smooth,
// round 1 - cos by an ulp of 1, or less where variances are large and the kernels less smooth.
#pragma once

#include "cpu/infinite_ntk_strip.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// A field of slice `layer` for the pairs of vector v of a strip.
template <class T>
struct SliceReader {
  const NetworkTile<T>& network;
  std::int64_t first, layer;

  GATENTK_INLINE Vector<T> row(int field, int v) const {
    const std::int64_t at = (layer * network_fields + field) * network.row_pitch;
    return broadcast(network.rows[at + first + v / panel_vectors]);
  }
  GATENTK_INLINE Vector<T> column(int field, int v) const {
    const std::int64_t at = (layer * network_fields + field) * network.column_pitch;
    return load(network.columns + at + v % panel_vectors * Simd<T>::lanes);
  }
  GATENTK_INLINE Vector<T> product(int field, int v) const { return row(field, v) * column(field, v); }
};

// The angles of a strip as 1 - |cos|, and which of them are beyond pi/2.
template <class T>
struct Angles {
  Strip<T> eps;
  IntegerVector<T> obtuse[strip_vectors];

  GATENTK_INLINE Vector<T> cosine(int v) const { return obtuse[v] ? eps[v] - T(1) : T(1) - eps[v]; }
};

// Adds the bias of a slice to what an activation made, and layers to the sums of the kernel,
// total = cos + cos psi_x cos psi_z (share_0 + share_1 of) total, all in units of the norms.
template <class T, bool may_be_obtuse, bool biased>
static GATENTK_INLINE void add_layer(const SliceReader<T>& slice, T share_0, T share_1, const Strip<T>& of,
                                     Angles<T>& angles, Strip<T>& total) {
  const Vector<T> one = broadcast(T(1));
  for (int v = 0; v < strip_vectors; ++v) {
    Vector<T> share = one, next = angles.eps[v], psi = {};
    if constexpr (biased) {
      const Vector<T> difference = (slice.row(1, v) - slice.column(1, v)) + (slice.row(2, v) - slice.column(2, v));
      const Vector<T> sizes = T(2) * slice.product(3, v);
      share = slice.product(0, v);
      psi = difference * difference * sizes;
      next = share * next + psi;
      if constexpr (may_be_obtuse) {
        const Vector<T> both = next + T(4) * slice.product(1, v) * sizes;  // + 2 sin psi_x sin psi_z
        const auto still = angles.obtuse[v] & (both <= one);
        const Vector<T> turned = share * (T(2) - angles.eps[v]) + psi;
        next = angles.obtuse[v] ? (still ? both : turned) : next;
        angles.obtuse[v] = still;
      }
    }
    angles.eps[v] = next;
    const Vector<T> cosine = may_be_obtuse ? angles.cosine(v) : one - next;
    total[v] = cosine + share * total[v] * (share_0 + share_1 * of[v]);
  }
}

// The angle behind a piecewise linear activation: 1 - cos theta' = eps - bend drop(eps), and seen from pi
// (2 - bend) - eps + bend (eps - drop).
template <class T, int level, bool may_be_obtuse, bool turns>
static GATENTK_INLINE void activate_level(T bend, Angles<T>& angles, Strip<T>& tau) {
  Strip<T> next;
  advance_level<T, level>(angles.eps, tau, next);
  const Vector<T> one = broadcast(T(1));
  for (int v = 0; v < strip_vectors; ++v) {
    const Vector<T> eps = angles.eps[v], near = bend * next[v] + (T(1) - bend) * eps;
    if constexpr (!may_be_obtuse) {
      angles.eps[v] = near;
    } else {
      const auto obtuse = angles.obtuse[v];
      const Vector<T> left = ((T(2) - bend) - eps) + bend * next[v];
      tau[v] = obtuse ? one - tau[v] : tau[v];
      if constexpr (turns) {
        const Vector<T> from_pi = eps + bend * (one - next[v]);
        const auto still = obtuse & (from_pi <= one);
        angles.eps[v] = obtuse ? (still ? from_pi : left) : near;
        angles.obtuse[v] = still;
      } else {
        angles.eps[v] = obtuse ? left : near;
        angles.obtuse[v] = obtuse & ~obtuse;
      }
    }
  }
}

template <class T, bool turns>
static GATENTK_INLINE void activate(int level, T bend, Angles<T>& angles, Strip<T>& tau) {
  static_assert(arc_levels == 5);
  if (turns)
    activate_level<T, 0, true, turns>(bend, angles, tau);
  else if (level == 4)
    activate_level<T, 4, false, false>(bend, angles, tau);
  else if (level == 3)
    activate_level<T, 3, false, false>(bend, angles, tau);
  else if (level == 2)
    activate_level<T, 2, false, false>(bend, angles, tau);
  else if (level == 1)
    activate_level<T, 1, false, false>(bend, angles, tau);
  else
    activate_level<T, 0, false, false>(bend, angles, tau);
}

// The angles of the samples behind the first bias, and the first sum of the kernel.
template <class T>
static GATENTK_INLINE void begin_network(const PairTile<T>& tile, std::int64_t first, Angles<T>& angles,
                                         Strip<T>& total) {
  Strip<T> cosine, tau;
  input_angles(tile, first, cosine, angles.eps);
  for (int v = 0; v < strip_vectors; ++v) {
    angles.obtuse[v] = cosine[v] < 0;
    tau[v] = total[v] = Vector<T>{};
  }
  const SliceReader<T> slice{tile.network, first, 0};
  if (tile.network.biased)
    add_layer<T, true, true>(slice, 0, 0, tau, angles, total);
  else
    add_layer<T, true, false>(slice, 0, 0, tau, angles, total);
}

template <class T, bool turns, bool biased>
static void piecewise_strip(const PairTile<T>& tile, std::int64_t first) {
  const NetworkTile<T>& network = tile.network;
  const StripWriter<T> writer{tile, first};
  DepthCursor depth{tile.depths, tile.depth_count};
  const std::int64_t last = tile.depths[tile.depth_count - 1];
  const T bend = T(network.bend), keep = T(network.keep), bent = T(-network.keep * network.bend);
  double scale = network.first;
  Angles<T> angles;
  Strip<T> total, tau;
  begin_network(tile, first, angles, total);
  for (std::int64_t layer = 0;; ++layer) {
    const SliceReader<T> slice{network, first, layer};
    depth.reach(layer, [&](int k) {
      for (int v = 0; v < strip_vectors; ++v)
        if constexpr (biased)
          store(writer.at(k, v), slice.product(4, v) * total[v]);
        else
          writer.kernel(k, v, T(scale) * total[v]);
    });
    if (layer == last) break;
    const SliceReader<T> next{network, first, layer + 1};
    if (layer == 0 && !turns) {
      activate_level<T, 0, true, false>(bend, angles, tau);
      add_layer<T, false, biased>(next, keep, bent, tau, angles, total);
    } else {
      activate<T, turns>(network.levels[layer], bend, angles, tau);
      add_layer<T, turns, biased>(next, keep, bent, tau, angles, total);
    }
    scale *= network.gain;
  }
}

// 1 - (1 - deficit) / sqrt((1 - d_x) (1 - d_z)), where `inverse` is 1 / sqrt((1 - d_x) (1 - d_z)), without a difference
// of numbers near 1: where deficits are small, so are their roundings.
static GATENTK_INLINE Vector<double> relative_deficit(Vector<double> deficit, Vector<double> d_x, Vector<double> d_z,
                                                      Vector<double> inverse) {
  const Vector<double> mean = (d_x + d_z - d_x * d_z) * inverse / (inverse + 1.0);
  return (deficit - mean) * inverse;
}

static GATENTK_INLINE Vector<double> at_least_zero(Vector<double> x) {
  return x > 0 ? x : Vector<double>{};
}

// E[erf(u) erf(v)] = 2/pi asin s and E[erf'(u) erf'(v)] = 4/pi k_x k_z / sqrt(1 - s^2), s = h_x h_z cos theta,
// h^2 = 2q / (1 + 2q), k^2 = 1 - h^2. 1 - s^2 is a sum of non-negative terms, and asin s follows from the smaller of s
// and its root, asin y = pi/sqrt2 y arc(2 y^2); of the root it is the deficit of 2/pi asin s. `slope` gets the second
// in units of sqrt(E[erf(u)^2] E[erf(v)^2] / (q_x q_z)).
static GATENTK_INLINE void activate_erf(const SliceReader<double>& own, Angles<double>& angles, Strip<double>& slope) {
  Strip<double> lesser, root, arc, sine;
  for (int v = 0; v < strip_vectors; ++v) {
    const Vector<double> eps = angles.eps[v], size = own.product(0, v);
    const Vector<double> h = own.row(0, v), k = own.row(1, v), k_z = own.column(1, v);
    sine[v] = size * (1.0 - eps);
    const Vector<double> rest = (k * k + h * h * (k_z * k_z)) + size * size * (eps * (2.0 - eps));
    root[v] = square_root(rest);
    slope[v] = (4 / pi) * (k * k_z) * own.product(4, v) / root[v];
    lesser[v] = 2.0 * (sine[v] > root[v] ? rest : sine[v] * sine[v]);
  }
  polynomial<double, arc_f64_degree[0]>(arc_f64[0], lesser, arc);
  constexpr double root_two = 1.41421356237309504880;
  for (int v = 0; v < strip_vectors; ++v) {
    const auto steep = sine[v] > root[v];
    const Vector<double> part = root_two * (steep ? root[v] : sine[v]) * arc[v], inverse = own.product(2, v);
    const Vector<double> near = relative_deficit(part, own.row(3, v), own.column(3, v), inverse);
    angles.eps[v] = at_least_zero(steep ? near : 1.0 - part * inverse);
  }
}

// E[f(u) f(v)] = c/2 (1 - tau) + (m + c^2 (1/P + 1/R)) / (2 pi sqrt D) of GELU and
// E[f'(u) f'(v)] = (1 - tau)/2 + c / (2 pi sqrt D) (1/P + 1/R + 1/D): variances p and r, covariance c, P = 1 + p,
// R = 1 + r, m = p r - c^2, D = P R - c^2 = 1 + p + r + m, tau pi the angle whose tangent is sqrt D / c. In units of
// sqrt(P R) / 2 the first is 1 - (eps' + B / (pi sqrt(D P R))), B = 1 + (p + m)/R + (r + m)/P, eps' what ReLU makes of
// that angle. `before` is the slice of the bias, of which sqrt p comes.
static GATENTK_INLINE void activate_gelu(const SliceReader<double>& before, const SliceReader<double>& own,
                                         Angles<double>& angles, Strip<double>& slope) {
  Strip<double> covariance, mean, smooth, tau, eps, next;
  for (int v = 0; v < strip_vectors; ++v) {
    const Vector<double> cosine = 1.0 - angles.eps[v], g = before.row(4, v), g_z = before.column(4, v);
    const Vector<double> p = g * g, r = g_z * g_z, c = g * g_z * cosine;
    const Vector<double> m = p * r * (angles.eps[v] * (1.0 + cosine)), rest = ((1.0 + p) + r) + m;
    const Vector<double> size = own.product(0, v);  // sqrt(P R)
    const Vector<double> x = own.row(1, v), z = own.column(1, v), inverse = 1.0 / square_root(rest);
    const Vector<double> turn = (1 / (2 * pi)) * inverse;
    eps[v] = rest / (size * (size + c));
    covariance[v] = angles.obtuse[v] ? -c : c;
    mean[v] = turn * (m + c * c * (x + z));
    slope[v] = turn * covariance[v] * (x + z + inverse * inverse);
    smooth[v] = 2.0 * turn * (1.0 + (p + m) * z + (r + m) * x) / size;
  }
  advance_level<double, 0>(eps, tau, next);
  for (int v = 0; v < strip_vectors; ++v) {
    const Vector<double> both = 0.5 * (angles.obtuse[v] ? tau[v] : 1.0 - tau[v]), size = own.product(0, v);
    const Vector<double> inverse = own.product(2, v);
    const Vector<double> near =
        relative_deficit(next[v] + smooth[v], own.row(3, v), own.column(3, v), 0.5 * size * inverse);
    const Vector<double> cosine = (mean[v] + covariance[v] * both) * inverse;
    const auto large = ~angles.obtuse[v] & (size > 4.0);
    angles.obtuse[v] = cosine < 0;
    angles.eps[v] = at_least_zero(large ? near : 1.0 - (angles.obtuse[v] ? -cosine : cosine));
    slope[v] = (slope[v] + both) * own.product(4, v);
  }
}

template <bool is_erf>
static void smooth_strip(const PairTile<double>& tile, std::int64_t first) {
  const NetworkTile<double>& network = tile.network;
  const StripWriter<double> writer{tile, first};
  DepthCursor depth{tile.depths, tile.depth_count};
  const std::int64_t last = tile.depths[tile.depth_count - 1];
  Angles<double> angles;
  Strip<double> total, slope;
  begin_network(tile, first, angles, total);
  for (std::int64_t layer = 0;; ++layer) {
    const SliceReader<double> bias{network, first, 2 * layer};
    depth.reach(layer, [&](int k) {
      for (int v = 0; v < strip_vectors; ++v) writer.plain(k, v, bias.product(4, v) * total[v]);
    });
    if (layer == last) break;
    const SliceReader<double> own{network, first, 2 * layer + 1}, next{network, first, 2 * layer + 2};
    if constexpr (is_erf)
      activate_erf(own, angles, slope);
    else
      activate_gelu(bias, own, angles, slope);
    add_layer<double, true, true>(next, 0, network.keep, slope, angles, total);
  }
}

template <class T>
static void network_strip(const PairTile<T>& tile, std::int64_t first) {
  const NetworkTile<T>& network = tile.network;
  if (is_piecewise_linear(tile.quantity)) {
    if (network.turns)
      network.biased ? piecewise_strip<T, true, true>(tile, first) : piecewise_strip<T, true, false>(tile, first);
    else
      network.biased ? piecewise_strip<T, false, true>(tile, first) : piecewise_strip<T, false, false>(tile, first);
  } else if constexpr (sizeof(T) == sizeof(double)) {
    is_erf(tile.quantity) ? smooth_strip<true>(tile, first) : smooth_strip<false>(tile, first);
  }
}

}  // namespace gatentk::cpu::GATENTK_ISA
