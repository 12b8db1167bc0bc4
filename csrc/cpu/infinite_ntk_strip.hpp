// A strip of pairs where it begins, the angles of its samples, and where its outputs go.
#pragma once

#include <cstdint>

#include "cpu/infinite_ntk_layers.hpp"
#include "cpu/kernel_table.hpp"
#include "gatentk/angles.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// Sums over the columns of w w and x w, w = (z - t x) - s x with one rounding for each difference.
struct Remainder {
  double across, along;
};

template <bool corrected, class T>
static Remainder remainder_of(const T* x, const T* z, std::int64_t width, double t, double s) {
  constexpr int lanes = Simd<double>::lanes;
  const std::int64_t whole = width / lanes * lanes;
  const Vector<double> minus_t = broadcast(-t), minus_s = broadcast(-s);
  Vector<double> squares = {}, products = {};
  for (std::int64_t k = 0; k < whole; k += lanes) {
    const Vector<double> a = load_double(x + k);
    Vector<double> w = fused_multiply_add(minus_t, a, load_double(z + k));
    if constexpr (corrected) w = fused_multiply_add(minus_s, a, w);
    squares += w * w;
    products += a * w;
  }
  Remainder sums{horizontal_sum<double>(squares), horizontal_sum<double>(products)};
  for (std::int64_t k = whole; k < width; ++k) {
    double w = __builtin_fma(-t, x[k], z[k]);
    if constexpr (corrected) w = __builtin_fma(-s, x[k], w);
    sums.across += w * w;
    sums.along += x[k] * w;
  }
  return sums;
}

// 1 - |cos| of the angle between two rows, relatively accurate for parallel ones of any norms: with t = x.z / |x|^2,
// w = z - t x and p = |x.z| / |x|, 1 - |cos| = |w|^2 / (h (h + p)), h = hypot(|w|, p). What t lacks leaves a part along
// x in w, of which w is freed by |w|^2 - (x.w)^2 / |x|^2, or where it is most of w by another difference; `product`,
// x.z, may be rounded. Sums in double for both types.
template <class T>
static double close_deficit(const T* x, const T* z, std::int64_t width, double squared, double product) {
  const double t = product / squared;
  Remainder w = remainder_of<false>(x, z, width, t, 0);
  double s = w.along / squared;
  const double p = __builtin_fabs(t * squared + w.along) / __builtin_sqrt(squared);
  if (s * w.along > close_part * w.across) {
    const double before = w.across;
    w = remainder_of<true>(x, z, width, t, s);
    if (w.across <= parallel_part * before) return 0;
    s = w.along / squared;
  }
  const double across = w.across - s * w.along;
  const double h = __builtin_sqrt(across + p * p);
  return across / (h * (h + p));
}

// `eps` holds a whole strip from row `first` of the tile on.
template <class T>
static void replace_close_pairs(const PairTile<T>& tile, std::int64_t first, T* eps) {
  for (int e = 0; e < strip_rows * panel_columns<T>; ++e) {
    if (!(eps[e] < T(close_pair))) continue;
    const std::int64_t r = first + e / panel_columns<T>, c = e % panel_columns<T>;
    const std::int64_t i = tile.row0 + r, j = tile.column0 + c;
    eps[e] = r < tile.rows && c < tile.columns && (!tile.symmetric || j > i)
                 ? T(close_deficit(tile.x.row(i), tile.z.row(j), tile.x.width, tile.row_squared[r],
                                   tile.gram[r * panel_columns<T> + c]))
                 : T(0);
  }
}

// cos theta_0 and 1 - |cos theta_0| of a strip of pairs from row `first` of the tile on.
template <class T>
static GATENTK_INLINE void input_angles(const PairTile<T>& tile, std::int64_t first, Strip<T>& cosine, Strip<T>& eps) {
  constexpr int lanes = Simd<T>::lanes;
  const Vector<T> one = broadcast(T(1)), zero = {};
  auto close = zero < zero;
  for (int v = 0; v < strip_vectors; ++v) {
    cosine[v] = load(tile.gram + first * panel_columns<T> + v * lanes) *
                broadcast(tile.row_inverse[first + v / panel_vectors]) *
                load(tile.column_inverse + v % panel_vectors * lanes);
    const Vector<T> size = cosine[v] < 0 ? -cosine[v] : cosine[v];
    eps[v] = size < one ? one - size : zero;
    close |= eps[v] < T(close_pair);
  }
  bool any = false;
  for (int lane = 0; lane < lanes; ++lane) any |= close[lane] != 0;
  if (!any) return;
  alignas(64) T deficits[strip_vectors * lanes];
  for (int v = 0; v < strip_vectors; ++v) store(deficits + v * lanes, eps[v]);
  replace_close_pairs(tile, first, deficits);
  for (int v = 0; v < strip_vectors; ++v) eps[v] = load(deficits + v * lanes);
}

// Writes a strip of one output of the tile: value * |x_i| |z_j| for kernels, the value alone for angles.
template <class T>
struct StripWriter {
  const PairTile<T>& tile;
  std::int64_t first;

  GATENTK_INLINE T* at(std::int64_t output, int v) const {
    return tile.out + (output * tile.out_rows + first) * panel_columns<T> + v * Simd<T>::lanes;
  }
  GATENTK_INLINE void kernel(std::int64_t output, int v, Vector<T> value) const {
    const Vector<T> norms = broadcast(tile.row_norm[first + v / panel_vectors]) *
                            load(tile.column_norm + v % panel_vectors * Simd<T>::lanes);
    store(at(output, v), norms * value);
  }
  GATENTK_INLINE void angle(std::int64_t output, int v, Vector<T> tau) const {
    store(at(output, v), broadcast(T(pi)) * tau);
  }
  GATENTK_INLINE void plain(std::int64_t output, int v, Vector<T> value) const { store(at(output, v), value); }
};

// Calls write(k) whenever layer `l` is the k-th wanted depth.
struct DepthCursor {
  const std::int64_t* depths;
  int count;
  int next = 0;

  template <class Write>
  GATENTK_INLINE void reach(std::int64_t layer, Write&& write) {
    if (next < count && depths[next] == layer) write(next++);
  }
};

}  // namespace gatentk::cpu::GATENTK_ISA
