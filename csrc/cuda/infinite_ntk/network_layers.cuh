// A strip of pairs through the layers of a network with weight and bias variances.
//
// The recurrences are those of cpu/infinite_ntk_networks.hpp: angles as complements of cosines, of which an activation
// makes others and a bias adds the plane of each sample's embedding and itself.
#pragma once

#include "cuda/device/lanes.cuh"
#include "cuda/infinite_ntk/layers.cuh"
#include "cuda/infinite_ntk/network_arguments.cuh"
#include "gatentk/angles.hpp"

namespace gatentk::cuda {

// A slice for the pairs of a lane: the fields of its column and of the rows of the strip. None where layers only scale.
template <class T>
class StripSlice {
 public:
  StripSlice() = default;
  __device__ __forceinline__ StripSlice(const NetworkArguments<T>& a, int row0, int column, std::int64_t index)
      : rows_(a.rows.fields(index) + row0),
        row_sizes_(a.rows.last_fields(index) + row0),
        column_(a.columns.fields(index) + column),
        column_size_(a.columns.last_fields(index) + column) {}

  __device__ __forceinline__ bool there() const { return rows_; }
  __device__ __forceinline__ SliceFields<T> row(int v) const { return rows_[v]; }
  __device__ __forceinline__ SliceFields<T> column() const { return *column_; }
  // The last fields.
  __device__ __forceinline__ T row_size(int v) const { return row_sizes_[v]; }
  __device__ __forceinline__ T column_size() const { return *column_size_; }

 private:
  const SliceFields<T>* rows_ = nullptr;
  const T* row_sizes_ = nullptr;
  const SliceFields<T>* column_ = nullptr;
  const T* column_size_ = nullptr;
};

// The angles of a strip as 1 - |cos|; bit v of `obtuse`: that of pair v is beyond pi/2.
template <class T>
struct StripAngles {
  Strip<T> eps;
  unsigned obtuse;

  __device__ __forceinline__ bool above(int v) const { return obtuse >> v & 1; }
  __device__ __forceinline__ void turn(int v, bool above) { obtuse = (obtuse & ~(1u << v)) | unsigned{above} << v; }
  __device__ __forceinline__ T cosine(int v) const { return above(v) ? eps[v] - T(1) : T(1) - eps[v]; }
};

// What a bias makes of the angle of pair v, and of the earlier layers' sum.
template <class T, bool may_be_obtuse>
__device__ __forceinline__ void turn_embeddings(const SliceFields<T>& row, const SliceFields<T>& column, int v,
                                                StripAngles<T>& angles, T& total) {
  const T difference = (row.field[1] - column.field[1]) + (row.field[2] - column.field[2]);
  const T sizes = T(2) * (row.field[3] * column.field[3]), share = row.field[0] * column.field[0];
  const T psi = difference * difference * sizes;
  T next = share * angles.eps[v] + psi;
  if (may_be_obtuse && angles.above(v)) {
    const T both = next + T(4) * (row.field[1] * column.field[1]) * sizes;  // + 2 sin psi_x sin psi_z
    const bool still = both <= T(1);
    next = still ? both : share * (T(2) - angles.eps[v]) + psi;
    angles.turn(v, still);
  }
  angles.eps[v] = at_least_smallest(next);
  total *= share;
}

// Adds the bias of a slice to what an activation made, and layers to the sums of the kernel,
// total = cos + cos psi_x cos psi_z (share_0 + share_1 of) total, all in units of the norms.
template <class T, bool may_be_obtuse>
__device__ __forceinline__ void add_layer_of(const StripSlice<T>& slice, T share_0, T share_1, const Strip<T>& of,
                                             StripAngles<T>& angles, Strip<T>& total) {
  if (slice.there()) {
    const SliceFields<T> column = slice.column();
#pragma unroll
    for (int v = 0; v < strip; ++v) turn_embeddings<T, may_be_obtuse>(slice.row(v), column, v, angles, total[v]);
  }
#pragma unroll
  for (int v = 0; v < strip; ++v) {
    const T cosine = may_be_obtuse ? angles.cosine(v) : T(1) - angles.eps[v];
    total[v] = cosine + total[v] * (share_0 + share_1 * of[v]);
  }
}

template <class T>
__device__ __forceinline__ void add_layer(const StripSlice<T>& slice, T share_0, T share_1, const Strip<T>& of,
                                          StripAngles<T>& angles, Strip<T>& total) {
  if (__any_sync(all_lanes, angles.obtuse != 0))
    add_layer_of<T, true>(slice, share_0, share_1, of, angles, total);
  else
    add_layer_of<T, false>(slice, share_0, share_1, of, angles, total);
}

// Bits that grow with a number of at least 0, beyond them those of NaN.
__device__ __forceinline__ int rising_bits(float x) {
  return __float_as_int(x);
}
__device__ __forceinline__ int rising_bits(double x) {
  return static_cast<int>(__double_as_longlong(x) >> 32);
}

// Whether the polynomials of a level serve numbers of at most these bits, in all lanes.
template <class T, int level>
__device__ __forceinline__ bool serves(int bits) {
  constexpr T top = static_cast<T>(arc_top[level]);
  return __all_sync(all_lanes, bits < rising_bits(top));
}

// tau of the angles, and by how much ReLU makes their eps fall, by the shortest polynomials that serve the whole warp:
// how fast angles fall depends on the biases.
template <class T>
__device__ __forceinline__ void advance_by_range(const Strip<T>& eps, Strip<T>& tau, Strip<T>& fall) {
  static_assert(arc_levels == 5);
  int most = rising_bits(eps[0]);
#pragma unroll
  for (int v = 1; v < strip; ++v) most = max(most, rising_bits(eps[v]));
  if (serves<T, 4>(most))
    advance_level<T, 4>(eps, tau, fall);
  else if (serves<T, 3>(most))
    advance_level<T, 3>(eps, tau, fall);
  else if (serves<T, 2>(most))
    advance_level<T, 2>(eps, tau, fall);
  else if (serves<T, 1>(most))
    advance_level<T, 1>(eps, tau, fall);
  else
    advance_level<T, 0>(eps, tau, fall);
}

// The angle behind a piecewise linear activation: 1 - cos theta' = eps - bend fall, and seen from pi
// (2 - bend) - eps + bend (eps - fall), or where it is still beyond pi/2, which takes bend < 1, eps + bend (1 - eps +
// fall).
template <class T>
__device__ __forceinline__ void activate(T bend, StripAngles<T>& angles, Strip<T>& tau) {
  Strip<T> fall;
  advance_by_range<T>(angles.eps, tau, fall);
  if (!__any_sync(all_lanes, angles.obtuse != 0)) {
#pragma unroll
    for (int v = 0; v < strip; ++v) angles.eps[v] -= bend * fall[v];
    return;
  }
#pragma unroll
  for (int v = 0; v < strip; ++v) {
    const T eps = angles.eps[v], bent = bend * fall[v];
    if (!angles.above(v)) {
      angles.eps[v] = eps - bent;
      continue;
    }
    const T from_pi = eps + bend * (T(1) - (eps - fall[v]));
    const bool still = from_pi <= T(1);
    tau[v] = T(1) - tau[v];
    angles.eps[v] = still ? from_pi : (T(2) - bend) + ((bend - T(1)) * eps - bent);
    angles.turn(v, still);
  }
}

// 1 - (1 - deficit) / sqrt((1 - d_x) (1 - d_z)), where `inverse` is 1 / sqrt((1 - d_x) (1 - d_z)), without a difference
// of numbers near 1: where deficits are small, so are their roundings.
__device__ __forceinline__ double relative_deficit(double deficit, double d_x, double d_z, double inverse) {
  const double mean = ratio((d_x + d_z - d_x * d_z) * inverse, inverse + 1.0);
  return (deficit - mean) * inverse;
}

__device__ __forceinline__ double at_least_zero(double x) {
  return x > 0 ? x : 0;
}

// E[erf(u) erf(v)] = 2/pi asin s and E[erf'(u) erf'(v)] = 4/pi k_x k_z / sqrt(1 - s^2), s = h_x h_z cos theta,
// h^2 = 2q / (1 + 2q), k^2 = 1 - h^2. 1 - s^2 is a sum of non-negative terms, and asin s follows from the smaller of s
// and its root, asin y = pi/sqrt2 y arc(2 y^2); of the root it is the deficit of 2/pi asin s. `slope` gets the second
// in units of sqrt(E[erf(u)^2] E[erf(v)^2] / (q_x q_z)).
__device__ __forceinline__ void activate_erf(const StripSlice<double>& own, StripAngles<double>& angles,
                                             Strip<double>& slope) {
  Strip<double> lesser, root_of_rest, arc;
  const SliceFields<double> z = own.column();
  const double h_z = z.field[0], k_z = z.field[1], size_z = own.column_size();
#pragma unroll
  for (int v = 0; v < strip; ++v) {
    const SliceFields<double> x = own.row(v);
    const double h = x.field[0], k = x.field[1], eps = angles.eps[v], size = h * h_z, sine = size * (1.0 - eps);
    const double rest = (k * k + h * h * (k_z * k_z)) + size * size * (eps * (2.0 - eps));
    const double inverse = inverse_root(rest);
    root_of_rest[v] = root(rest);
    slope[v] = (4 / pi) * (k * k_z) * (own.row_size(v) * size_z) * inverse;
    lesser[v] = 2.0 * (sine > root_of_rest[v] ? rest : sine * sine);
  }
  polynomial<double, Arc<double>, 0>(lesser, arc);
#pragma unroll
  for (int v = 0; v < strip; ++v) {
    constexpr double root_two = 1.41421356237309504880;
    const SliceFields<double> x = own.row(v);
    const double sine = (x.field[0] * h_z) * (1.0 - angles.eps[v]), inverse = x.field[2] * z.field[2];
    const bool steep = sine > root_of_rest[v];
    const double part = root_two * (steep ? root_of_rest[v] : sine) * arc[v];
    const double near = relative_deficit(part, x.field[3], z.field[3], inverse);
    angles.eps[v] = at_least_zero(steep ? near : 1.0 - part * inverse);
  }
}

// E[f(u) f(v)] = c/2 (1 - tau) + (m + c^2 (1/P + 1/R)) / (2 pi sqrt D) of GELU and
// E[f'(u) f'(v)] = (1 - tau)/2 + c / (2 pi sqrt D) (1/P + 1/R + 1/D): variances p and r, covariance c, P = 1 + p,
// R = 1 + r, m = p r - c^2, D = P R - c^2 = 1 + p + r + m, tau pi the angle whose tangent is sqrt D / c. In units of
// sqrt(P R) / 2 the first is 1 - (eps' + B / (pi sqrt(D P R))), B = 1 + (p + m)/R + (r + m)/P, eps' what ReLU makes of
// that angle. `before` is the slice of the bias, of which sqrt p comes.
__device__ __forceinline__ void activate_gelu(const StripSlice<double>& before, const StripSlice<double>& own,
                                              StripAngles<double>& angles, Strip<double>& slope) {
  Strip<double> covariance, mean, smooth, tau, eps, fall;
  const SliceFields<double> z = own.column();
  const double g_z = before.column_size();
#pragma unroll
  for (int v = 0; v < strip; ++v) {
    const SliceFields<double> x = own.row(v);
    const double cosine = 1.0 - angles.eps[v], g = before.row_size(v);
    const double p = g * g, r = g_z * g_z, c = g * g_z * cosine;
    const double m = p * r * (angles.eps[v] * (1.0 + cosine)), rest = ((1.0 + p) + r) + m;
    const double size = x.field[0] * z.field[0], over_p = x.field[1], over_r = z.field[1];  // sqrt(P R), 1/P, 1/R
    const double inverse = inverse_root(rest), turn = (1 / (2 * pi)) * inverse;
    eps[v] = ratio(rest, size * (size + c));
    covariance[v] = angles.above(v) ? -c : c;
    mean[v] = turn * (m + c * c * (over_p + over_r));
    slope[v] = turn * covariance[v] * (over_p + over_r + inverse * inverse);
    const double over_size = (x.field[0] * over_p) * (z.field[0] * over_r);
    smooth[v] = 2.0 * turn * (1.0 + (p + m) * over_r + (r + m) * over_p) * over_size;
  }
  advance_level<double, 0>(eps, tau, fall);
  const double size_z = own.column_size();
#pragma unroll
  for (int v = 0; v < strip; ++v) {
    const SliceFields<double> x = own.row(v);
    const bool obtuse = angles.above(v);
    const double both = 0.5 * (obtuse ? tau[v] : 1.0 - tau[v]), size = x.field[0] * z.field[0];
    const double inverse = x.field[2] * z.field[2];
    const double near = relative_deficit((eps[v] - fall[v]) + smooth[v], x.field[3], z.field[3], 0.5 * size * inverse);
    const double cosine = (mean[v] + covariance[v] * both) * inverse;
    const bool large = !obtuse && size > 4.0, turned = cosine < 0;
    angles.turn(v, turned);
    angles.eps[v] = at_least_zero(large ? near : 1.0 - (turned ? -cosine : cosine));
    slope[v] = (slope[v] + both) * (own.row_size(v) * size_z);
  }
}

}  // namespace gatentk::cuda
