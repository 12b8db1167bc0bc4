// What the infinite-width kernels compute. A new activation adds its quantities here, their recurrences to
// cpu/infinite_ntk_kernel.hpp and cuda/infinite_ntk/sweep.cuh, and a row to python/gatentk/activations.py.
#pragma once

namespace gatentk {

enum class Quantity : int {
  relu,
  relu_components,
  relu_angle,
  grelu,
  grelu_angle,
  embedding_angle,
  grelu_deep,
  grelu_deep_deficit,
  grelu_shallow,
  grelu_shallow_deficit,
  leaky_relu,
  leaky_relu_nngp,
  erf,
  erf_nngp,
  gelu,
  gelu_nngp
};

struct NamedQuantity {
  const char* name;
  Quantity quantity;
};

// All of them, each at the index that is its value.
inline constexpr NamedQuantity quantities[] = {
    {"relu", Quantity::relu},
    {"relu_components", Quantity::relu_components},
    {"relu_angle", Quantity::relu_angle},
    {"grelu", Quantity::grelu},
    {"grelu_angle", Quantity::grelu_angle},
    {"embedding_angle", Quantity::embedding_angle},
    {"grelu_deep", Quantity::grelu_deep},
    {"grelu_deep_deficit", Quantity::grelu_deep_deficit},
    {"grelu_shallow", Quantity::grelu_shallow},
    {"grelu_shallow_deficit", Quantity::grelu_shallow_deficit},
    {"leaky_relu", Quantity::leaky_relu},
    {"leaky_relu_nngp", Quantity::leaky_relu_nngp},
    {"erf", Quantity::erf},
    {"erf_nngp", Quantity::erf_nngp},
    {"gelu", Quantity::gelu},
    {"gelu_nngp", Quantity::gelu_nngp},
};

constexpr bool quantities_are_in_order() {
  int index = 0;
  for (const NamedQuantity& named : quantities)
    if (static_cast<int>(named.quantity) != index++) return false;
  return true;
}
static_assert(quantities_are_in_order());

// Whether one depth gives depth + 1 outputs, one for each layer, and not one output for each depth.
constexpr bool by_layer(Quantity quantity) {
  return quantity == Quantity::relu_components;
}

// Whether the kernel is that of a Network with parameters of its own.
constexpr bool of_network(Quantity quantity) {
  return quantity >= Quantity::leaky_relu;
}

// Numbers that a layer of a network asks of a sample; see gatentk/sample_layers.hpp.
constexpr int network_fields = 5;

// Whether it is the covariance of the outputs, without derivatives.
constexpr bool is_nngp(Quantity quantity) {
  return quantity == Quantity::leaky_relu_nngp || quantity == Quantity::erf_nngp || quantity == Quantity::gelu_nngp;
}

constexpr bool is_piecewise_linear(Quantity quantity) {
  return quantity == Quantity::leaky_relu || quantity == Quantity::leaky_relu_nngp;
}

constexpr bool is_erf(Quantity quantity) {
  return quantity == Quantity::erf || quantity == Quantity::erf_nngp;
}

// The quantity of a sample x and itself in units of |x|^2, exactly; an angle or deficit is 0.
constexpr double diagonal_factor(Quantity quantity, double depth) {
  switch (quantity) {
    case Quantity::relu:
      return depth + 1;
    case Quantity::relu_components:
      return 1;
    case Quantity::grelu:
    case Quantity::grelu_deep:
    case Quantity::grelu_shallow:
      return depth;
    default:
      return 0;
  }
}

}  // namespace gatentk
