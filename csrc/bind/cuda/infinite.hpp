// What bindings of kernels of infinite width share.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bind/cuda/configurations.hpp"
#include "bind/views.hpp"
#include "cuda/infinite_ntk/configurations.hpp"
#include "gatentk/infinite_ntk.hpp"

namespace gatentk::bind::cuda {

inline Quantity quantity_of(int index, bool network) {
  if (index < 0 || index >= static_cast<int>(std::size(quantities)) ||
      of_network(quantities[index].quantity) != network)
    throw std::invalid_argument(std::string("quantity: expected an index in Quantity of ") + (network ? "a" : "no") +
                                " network, got " + std::to_string(index));
  return quantities[index].quantity;
}

template <class T>
InfiniteProblem<T> infinite_problem(Quantity quantity, const std::vector<std::int64_t>& depths, bool symmetric,
                                    const ViewArgs& x, const ViewArgs& z) {
  InfiniteProblem<T> problem;
  problem.quantity = quantity;
  problem.depths = depths;
  problem.symmetric = symmetric;
  problem.x = view<T>(x);
  problem.z = view<T>(z);
  return problem;
}

template <int index, class Kernels>
pybind11::dict infinite_entry(const Kernels& kernels) {
  constexpr gatentk::cuda::InfiniteConfiguration configuration = gatentk::cuda::infinite_configurations[index];
  using Layout = gatentk::cuda::ConfiguredInfinite<index>;
  const bool doubles = configuration.element_bytes == 8;
  const std::string arguments = (doubles ? "<double, " : "<float, ") + std::to_string(configuration.side) + ">";
  pybind11::dict entry =
      configuration_entry(configuration.name, kernels(arguments, doubles), Layout::threads, Layout::shared_bytes);
  entry["architectures"] = all_architectures;
  entry["tile_rows"] = configuration.side;
  entry["tile_columns"] = configuration.side;
  entry["stages"] = Layout::stages;
  return entry;
}

template <class Kernels, int... index>
pybind11::list infinite_entries(const Kernels& kernels, std::integer_sequence<int, index...>) {
  pybind11::list result;
  (result.append(infinite_entry<index>(kernels)), ...);
  return result;
}

// The table, and after it what every configuration starts first. kernels(arguments, doubles): names of those that a
// configuration starts, with their template arguments.
template <class Kernels>
pybind11::list infinite_configuration_entries(const Kernels& kernels, pybind11::dict first) {
  constexpr int count = static_cast<int>(std::size(gatentk::cuda::infinite_configurations));
  pybind11::list result = infinite_entries(kernels, std::make_integer_sequence<int, count>());
  first["architectures"] = all_architectures;
  result.append(first);
  return result;
}

}  // namespace gatentk::bind::cuda
