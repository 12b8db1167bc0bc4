// Compiled without contraction: sums of two numbers need the rounding of each operation.
#include "cpu/sample_layers.hpp"

#include <algorithm>
#include <cmath>

#include "cpu/parallel.hpp"
#include "gatentk/angles.hpp"
#include "gatentk/arc_polynomials.hpp"

namespace gatentk::cpu {

namespace {

// A sum high + low of twice the digits of double, low below an ulp of high (Dekker 1971).
struct Pair {
  double high, low;
};

Pair sum_of(double a, double b) {
  const double sum = a + b, part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

// Where |a| >= |b|.
Pair ordered_sum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

Pair product_of(double a, double b) {
  const double product = a * b;
  return {product, std::fma(a, b, -product)};
}

Pair plus(Pair a, double b) {
  const Pair sum = sum_of(a.high, b);
  return ordered_sum(sum.high, sum.low + a.low);
}

Pair plus(Pair a, Pair b) {
  const Pair sum = sum_of(a.high, b.high);
  return ordered_sum(sum.high, sum.low + (a.low + b.low));
}

Pair times(Pair a, double b) {
  const Pair product = product_of(a.high, b);
  return ordered_sum(product.high, product.low + a.low * b);
}

Pair root_of(Pair a) {
  if (a.high <= 0) return {0, 0};
  const double root = std::sqrt(a.high);
  return ordered_sum(root, (std::fma(-root, root, a.high) + a.low) / (2 * root));
}

Pair quotient(double a, Pair b) {
  const double first = a / b.high;
  return ordered_sum(first, (std::fma(-first, b.high, a) - first * b.low) / b.high);
}

template <class T>
Pair squared_norm(const T* row, std::int64_t width) {
  Pair sum{0, 0};
  for (std::int64_t k = 0; k < width; ++k) {
    const Pair square = product_of(row[k], row[k]), next = sum_of(sum.high, square.high);
    sum = {next.high, sum.low + (next.low + square.low)};
  }
  return ordered_sum(sum.high, sum.low);
}

double bend_of(const Network& network) {
  const double slope = network.slope;
  return (1 - slope) * (1 - slope) / (1 + slope * slope);
}

double gain_of(const Network& network) {
  return network.weight * (1 + network.slope * network.slope) / 2;
}

// (sin theta - theta cos theta) / pi, without cancellation.
double drop(double theta) {
  if (theta > 0.5) return (std::sin(theta) - theta * std::cos(theta)) / pi;
  double sum = 0, power = theta * theta * theta / 3;  // sum of (-1)^(k+1) 2k theta^(2k+1) / (2k+1)!
  for (int k = 1; k < 9; ++k) {
    sum += power;
    power *= -theta * theta / (2 * k * (2 * k + 3));
  }
  return sum / pi;
}

// E[f(u)^2] and E[f'(u)^2] of variance q, and by how much the first falls short of its limit.
struct Moments {
  double mean, slope, deficit;
};

Moments moments_of_erf(double q) {
  const double root = std::sqrt(1 + 4 * q);
  return {2 / pi * std::atan2(2 * q, root), 4 / (pi * root), 2 / pi * std::atan2(root, 2 * q)};
}

Moments moments_of_gelu(double q) {
  const double one = 1 + q, square = 1 + 2 * q, root = std::sqrt(square), theta = std::atan2(root, q);
  const double both = 0.5 - theta / (2 * pi), turn = 1 / (2 * pi * root);
  const double relu = square / (one * (one + q)) - drop(theta), smooth = 2 * turn * (1 + 2 * q / one) / one;
  return {q * both + turn * q * q * 2 / one, both + turn * q * (2 / one + 1 / square), relu + smooth};
}

// 1 - cos theta' behind a piecewise linear activation, theta at most pi/2.
double bent(double eps, double bend) {
  const double theta = std::acos(1 - std::min(eps, 1.0));
  return eps - bend * drop(theta);
}

}  // namespace

// The slices of one sample, written one after the other.
template <class T>
class SampleLayers<T>::Sample {
 public:
  Sample(SampleLayers& layers, const InfiniteProblem<T>& problem, std::int64_t index)
      : layers_(layers), problem_(problem), index_(index) {}

  void write(Pair squared) {
    const Network& network = problem_.network;
    const std::int64_t last = problem_.depths.back();
    Pair variance = write_bias(0, times(squared, network.first));
    double kernel = variance.high;
    reach(0, variance.high, kernel);
    if (is_piecewise_linear(problem_.quantity)) {
      const double gain = gain_of(network);
      for (std::int64_t layer = 1; layer <= last; ++layer) {
        variance = write_bias(layer, times(variance, gain));
        kernel = variance.high + gain * kernel;
        reach(layer, variance.high, kernel);
      }
      return;
    }
    double q = variance.high;
    for (std::int64_t layer = 1; layer <= last; ++layer) {
      const Moments moments = is_erf(problem_.quantity) ? moments_of_erf(q) : moments_of_gelu(q);
      write_smooth(2 * layer - 1, q, moments);
      q = write_bias(2 * layer, {network.weight * moments.mean, 0}).high;
      kernel = q + network.weight * moments.slope * kernel;
      reach(layer, q, kernel);
    }
  }

 private:
  void put(std::int64_t slice, int field, double value) {
    if (layers_.table_.empty()) return;
    layers_.table_[(slice * network_fields + field) * layers_.pitch_ + index_] = static_cast<T>(value);
  }

  // The variance with the bias.
  Pair write_bias(std::int64_t slice, Pair a) {
    const double bias = problem_.network.bias;
    const Pair q = plus(a, bias);
    if (layers_.table_.empty()) return q;
    const Pair root = root_of(q);
    const Pair p = bias > 0 ? quotient(std::sqrt(bias), plus(root, root_of(a))) : Pair{0, 0};
    const double high = static_cast<T>(p.high);
    put(slice, 0, a.high > 0 ? std::sqrt(a.high / q.high) : 0);
    put(slice, 1, high);
    put(slice, 2, (p.high - high) + p.low);
    put(slice, 3, 1 / (1 + p.high * p.high));
    put(slice, 4, root.high);
    return q;
  }

  void write_smooth(std::int64_t slice, double q, const Moments& moments) {
    const bool erf = is_erf(problem_.quantity);
    put(slice, 0, erf ? std::sqrt(2 * q / (1 + 2 * q)) : std::sqrt(1 + q));
    put(slice, 1, erf ? 1 / std::sqrt(1 + 2 * q) : 1 / (1 + q));
    put(slice, 2, moments.mean > 0 ? 1 / std::sqrt(moments.mean) : 0);
    put(slice, 3, moments.deficit);
    put(slice, 4, moments.mean > 0 ? std::sqrt(q / moments.mean) : 0);
  }

  void reach(std::int64_t layer, double covariance, double kernel) {
    if (problem_.depths[next_] != layer) return;
    layers_.diagonals_[next_++ * layers_.pitch_ + index_] =
        static_cast<T>(is_nngp(problem_.quantity) ? covariance : kernel);
  }

  SampleLayers& layers_;
  const InfiniteProblem<T>& problem_;
  std::int64_t index_;
  std::size_t next_ = 0;
};

template <class T>
SampleLayers<T>::SampleLayers(const InfiniteProblem<T>& problem, const RowsView<T>& samples, std::int64_t padded,
                              int threads)
    : rows_(samples.rows), pitch_(padded), diagonals_(problem.depths.size() * static_cast<std::size_t>(padded)) {
  const bool smooth = !is_piecewise_linear(problem.quantity);
  const std::int64_t slices = smooth ? 2 * problem.depths.back() + 1 : problem.depths.back() + 1;
  if (problem.network.bias > 0 || smooth) table_.resize(static_cast<std::size_t>(slices * network_fields * padded));
  constexpr std::int64_t chunk = 16;
  parallel_for((padded + chunk - 1) / chunk, threads, [&](std::int64_t c, int) {
    for (std::int64_t i = c * chunk; i < std::min(padded, (c + 1) * chunk); ++i)
      Sample(*this, problem, i).write(i < rows_ ? squared_norm(samples.row(i), samples.width) : Pair{0, 0});
  });
}

template <class T>
typename SampleLayers<T>::Turns SampleLayers<T>::turns(std::int64_t layer) const {
  if (table_.empty()) return {0, 0};
  const T* p = table_.data() + (layer * network_fields + 1) * pitch_;
  const auto [least, most] = std::minmax_element(p, p + rows_);
  return {static_cast<double>(*least), static_cast<double>(*most)};
}

template <class T>
NetworkTile<T> network_tile(const InfiniteProblem<T>& problem, const SampleLayers<T>& x, const SampleLayers<T>& z,
                            std::vector<std::uint8_t>& levels) {
  const Network& network = problem.network;
  NetworkTile<T> tile{};
  tile.first = network.first;
  tile.keep = is_nngp(problem.quantity) ? 0 : 1;
  tile.bend = bend_of(network);
  tile.gain = gain_of(network);
  tile.biased = x.table() != nullptr;
  tile.turns = tile.bend < 1;
  tile.row_pitch = x.pitch();
  tile.column_pitch = z.pitch();
  levels.assign(static_cast<std::size_t>(problem.depths.back() + 1), 0);
  double eps = 1;  // at most, behind the first activation; a hair more for what is rounded
  for (std::int64_t layer = 1; is_piecewise_linear(problem.quantity) && layer <= problem.depths.back(); ++layer) {
    const auto of_x = x.turns(layer), of_z = z.turns(layer);
    const double low = std::min(of_x.least, of_z.least), high = std::max(of_x.most, of_z.most);
    const double share = (1 - low * low) / (1 + low * low), turn = (high - low) / (1 + low * high);
    eps = std::min(1.0, share * share * eps + 2 * turn * turn / (1 + turn * turn)) * (1 + 1e-6);
    int level = arc_levels - 1;
    while (level > 0 && eps > arc_top[level]) --level;
    levels[layer] = static_cast<std::uint8_t>(level);
    eps = bent(eps, tile.bend);
  }
  tile.levels = levels.data();
  return tile;
}

template class SampleLayers<float>;
template class SampleLayers<double>;
template NetworkTile<float> network_tile(const InfiniteProblem<float>&, const SampleLayers<float>&,
                                         const SampleLayers<float>&, std::vector<std::uint8_t>&);
template NetworkTile<double> network_tile(const InfiniteProblem<double>&, const SampleLayers<double>&,
                                          const SampleLayers<double>&, std::vector<std::uint8_t>&);

}  // namespace gatentk::cpu
