// Compiled without contraction: sums of two numbers need the rounding of each operation.
#include "cpu/sample_layers.hpp"

#include <algorithm>
#include <cmath>

#include "cpu/parallel.hpp"
#include "gatentk/arc_polynomials.hpp"
#include "gatentk/sample_layers.hpp"

namespace gatentk::cpu {

namespace {

template <class T>
WideDouble squared_norm(const T* row, std::int64_t width) {
  WideDouble sum{0, 0};
  for (std::int64_t k = 0; k < width; ++k) sum = add_square(sum, row[k]);
  return ordered_sum(sum.high, sum.low);
}

// 1 - cos theta' behind a piecewise linear activation, theta at most pi/2.
double bent(double eps, double bend) {
  const double theta = std::acos(1 - std::min(eps, 1.0));
  return eps - bend * sine_drop(theta, std::sin(theta), std::cos(theta));
}

}  // namespace

// Where one sample's numbers go.
template <class T>
class SampleLayers<T>::Sink {
 public:
  Sink(SampleLayers& layers, const InfiniteProblem<T>& problem, std::int64_t index)
      : layers_(layers), problem_(problem), index_(index) {}

  bool wants_slices() const { return !layers_.table_.empty(); }

  void slice(std::int64_t slice, const double (&fields)[network_fields]) {
    T* first = layers_.table_.data() + slice * network_fields * layers_.pitch_ + index_;
    for (int f = 0; f < network_fields; ++f) first[f * layers_.pitch_] = static_cast<T>(fields[f]);
  }

  void layer(std::int64_t layer, double covariance, double kernel) {
    if (problem_.depths[next_] != layer) return;
    layers_.diagonals_[next_++ * layers_.pitch_ + index_] =
        static_cast<T>(is_nngp(problem_.quantity) ? covariance : kernel);
  }

 private:
  SampleLayers& layers_;
  const InfiniteProblem<T>& problem_;
  std::int64_t index_;
  std::size_t next_ = 0;
};

template <class T>
SampleLayers<T>::SampleLayers(const InfiniteProblem<T>& problem, const RowsView<T>& samples, std::int64_t padded,
                              int threads)
    : rows_(samples.rows), pitch_(padded), diagonals_(problem.depths.size() * static_cast<std::size_t>(padded)) {
  const NetworkWalk walk = walk_of(problem);
  table_.resize(static_cast<std::size_t>(walk.slices() * network_fields * padded));
  constexpr std::int64_t chunk = 16;
  parallel_for((padded + chunk - 1) / chunk, threads, [&](std::int64_t c, int) {
    for (std::int64_t i = c * chunk; i < std::min(padded, (c + 1) * chunk); ++i) {
      Sink sink(*this, problem, i);
      walk_layers<T>(walk, i < rows_ ? squared_norm(samples.row(i), samples.width) : WideDouble{0, 0}, sink);
    }
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
  tile.bend = network.bend();
  tile.gain = network.gain();
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
