// What the layers of a network with weight and bias variances ask of each sample alone, on every processor.
//
// Slice l = 0..L, of erf and GELU 2l, is the bias added before layer l + 1 to the variance a (see
// cpu/infinite_ntk_networks.hpp): cos psi, p as a sum of two numbers, 1 / (1 + p^2) and sqrt q, q = a + bias. Slice
// 2l - 1 of erf and GELU is activation l = 1..L of variance q, K = E[f(u)^2]: h and k, of GELU sqrt(1 + q) and 1 / (1 +
// q); 1 / sqrt K; 1 - K, of GELU 1 - 2K / (1 + q); sqrt(q / K).
#pragma once

#include <cmath>
#include <cstdint>

#include "gatentk/angles.hpp"
#include "gatentk/infinite_ntk.hpp"
#include "gatentk/wide_double.hpp"

namespace gatentk {

// A network as a walk along its layers has it.
struct NetworkWalk {
  Quantity quantity;
  Network network;
  double gain;  // network.gain(), the same number wherever it is used
  std::int64_t last;

  // Slices of the table: none where layers without a bias only scale.
  constexpr std::int64_t slices() const {
    if (!is_piecewise_linear(quantity)) return 2 * last + 1;
    return network.bias > 0 ? last + 1 : 0;
  }
};

template <class T>
NetworkWalk walk_of(const InfiniteProblem<T>& problem) {
  return {problem.quantity, problem.network, problem.network.gain(), problem.depths.back()};
}

// (sin theta - theta cos theta) / pi, without cancellation.
GATENTK_EVERYWHERE inline double sine_drop(double theta, double sine, double cosine) {
  if (theta > 0.5) return (sine - theta * cosine) / pi;
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

GATENTK_EVERYWHERE inline Moments moments_of_erf(double q) {
  const double root = std::sqrt(1 + 4 * q);
  return {2 / pi * std::atan2(2 * q, root), 4 / (pi * root), 2 / pi * std::atan2(root, 2 * q)};
}

GATENTK_EVERYWHERE inline Moments moments_of_gelu(double q) {
  const double one = 1 + q, square = 1 + 2 * q, root = std::sqrt(square), theta = std::atan2(root, q);
  const double both = 0.5 - theta / (2 * pi), turn = 1 / (2 * pi * root);
  const double relu = square / (one * (one + q)) - sine_drop(theta, root / one, q / one);
  const double smooth = 2 * turn * (1 + 2 * q / one) / one;
  return {q * both + turn * q * q * 2 / one, both + turn * q * (2 / one + 1 / square), relu + smooth};
}

// The variance with the bias; its slice goes to the sink.
template <class T, class Sink>
GATENTK_EVERYWHERE WideDouble add_bias(double bias, std::int64_t slice, WideDouble a, Sink& sink) {
  const WideDouble q = plus(a, bias);
  if (!sink.wants_slices()) return q;
  const WideDouble root = root_of(q);
  const WideDouble p = bias > 0 ? quotient(std::sqrt(bias), plus(root, root_of(a))) : WideDouble{0, 0};
  const double high = static_cast<T>(p.high), share = a.high > 0 ? std::sqrt(a.high / q.high) : 0;
  const double fields[network_fields] = {share, high, (p.high - high) + p.low, 1 / (1 + p.high * p.high), root.high};
  sink.slice(slice, fields);
  return q;
}

template <class Sink>
GATENTK_EVERYWHERE void add_activation(bool erf, std::int64_t slice, double q, const Moments& moments, Sink& sink) {
  const double fields[network_fields] = {erf ? std::sqrt(2 * q / (1 + 2 * q)) : std::sqrt(1 + q),
                                         erf ? 1 / std::sqrt(1 + 2 * q) : 1 / (1 + q),
                                         moments.mean > 0 ? 1 / std::sqrt(moments.mean) : 0, moments.deficit,
                                         moments.mean > 0 ? std::sqrt(q / moments.mean) : 0};
  sink.slice(slice, fields);
}

// A sample of squared norm `squared` from layer to layer. The sink gets the slices of tables of T, if it wants them,
// and of every layer the covariance and the kernel of the sample and itself.
template <class T, class Sink>
GATENTK_EVERYWHERE void walk_layers(const NetworkWalk& walk, WideDouble squared, Sink& sink) {
  const Network& network = walk.network;
  WideDouble variance = add_bias<T>(network.bias, 0, times(squared, network.first), sink);
  double kernel = variance.high;
  sink.layer(0, variance.high, kernel);
  if (is_piecewise_linear(walk.quantity)) {
    for (std::int64_t layer = 1; layer <= walk.last; ++layer) {
      variance = add_bias<T>(network.bias, layer, times(variance, walk.gain), sink);
      kernel = variance.high + walk.gain * kernel;
      sink.layer(layer, variance.high, kernel);
    }
    return;
  }
  double q = variance.high;
  for (std::int64_t layer = 1; layer <= walk.last; ++layer) {
    const Moments moments = is_erf(walk.quantity) ? moments_of_erf(q) : moments_of_gelu(q);
    add_activation(is_erf(walk.quantity), 2 * layer - 1, q, moments, sink);
    const WideDouble behind{rounded_product(network.weight, moments.mean), 0};
    q = add_bias<T>(network.bias, 2 * layer, behind, sink).high;
    kernel = q + network.weight * moments.slope * kernel;
    sink.layer(layer, q, kernel);
  }
}

}  // namespace gatentk
