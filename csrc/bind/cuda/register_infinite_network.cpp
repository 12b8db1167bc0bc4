#include <array>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bind/cuda/configurations.hpp"
#include "bind/cuda/device.hpp"
#include "bind/cuda/register.hpp"
#include "bind/views.hpp"
#include "cuda/infinite_ntk/configurations.hpp"
#include "cuda/infinite_ntk/infinite_network.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

Quantity quantity_of(int index) {
  if (index < 0 || index >= static_cast<int>(std::size(quantities)) || !of_network(quantities[index].quantity))
    throw std::invalid_argument("quantity: expected an index in Quantity of a network, got " + std::to_string(index));
  return quantities[index].quantity;
}

// slope, first, weight, bias
using NetworkArgs = std::array<double, 4>;

template <class T>
InfiniteProblem<T> problem_of(int quantity, const std::vector<std::int64_t>& depths, bool symmetric,
                              const NetworkArgs& network, const ViewArgs& x, const ViewArgs& z) {
  InfiniteProblem<T> problem;
  problem.quantity = quantity_of(quantity);
  problem.depths = depths;
  problem.symmetric = symmetric;
  problem.network = {network[0], network[1], network[2], network[3]};
  problem.x = view<T>(x);
  problem.z = view<T>(z);
  return problem;
}

template <class T>
std::int64_t workspace_size(int quantity, const std::vector<std::int64_t>& depths, bool symmetric,
                            const NetworkArgs& network, const ViewArgs& x, const ViewArgs& z) {
  return gatentk::cuda::infinite_network_workspace(problem_of<T>(quantity, depths, symmetric, network, x, z));
}

template <class T>
void run_infinite_network(int quantity, const std::vector<std::int64_t>& depths, bool symmetric,
                          const NetworkArgs& network, const ViewArgs& x, const ViewArgs& z, std::uintptr_t out,
                          std::int64_t out_slice, std::int64_t out_stride, std::uintptr_t workspace,
                          const DeviceArgs& device, int configuration) {
  InfiniteProblem<T> problem = problem_of<T>(quantity, depths, symmetric, network, x, z);
  problem.out = pointer<T>(out);
  problem.out_slice = out_slice;
  problem.out_stride = out_stride;
  const py::gil_scoped_release release;
  gatentk::cuda::infinite_network(problem, pointer<T>(workspace), device_of(device), configuration);
}

template <int index>
py::dict indexed_entry() {
  constexpr gatentk::cuda::InfiniteConfiguration configuration = gatentk::cuda::infinite_configurations[index];
  using Layout = gatentk::cuda::ConfiguredInfinite<index>;
  const bool doubles = configuration.element_bytes == 8;
  const std::string arguments = (doubles ? "<double, " : "<float, ") + std::to_string(configuration.side) + ">";
  std::vector<std::string> kernels = {"piecewise_network" + arguments};
  if (doubles) kernels.push_back("smooth_network" + arguments);
  py::dict entry = configuration_entry(configuration.name, kernels, Layout::threads, Layout::shared_bytes);
  entry["architectures"] = all_architectures;
  entry["tile_rows"] = configuration.side;
  entry["tile_columns"] = configuration.side;
  entry["stages"] = Layout::stages;
  return entry;
}

// The table of infinite_ntk, and after it what every configuration starts first.
template <int... index>
py::list configuration_entries(std::integer_sequence<int, index...>) {
  py::list result;
  (result.append(indexed_entry<index>()), ...);
  py::dict samples = configuration_entry("samples", {"network_samples<float>", "network_samples<double>"},
                                         gatentk::cuda::network_sample_threads, gatentk::cuda::network_sample_bytes);
  samples["architectures"] = all_architectures;
  result.append(samples);
  return result;
}

}  // namespace

void register_infinite_network(py::module_& m) {
  m.def("infinite_network_workspace_f32", &workspace_size<float>);
  m.def("infinite_network_workspace_f64", &workspace_size<double>);
  for (const auto& [name, run] : {std::pair{"infinite_network_f32", &run_infinite_network<float>},
                                  {"infinite_network_f64", &run_infinite_network<double>}})
    m.def(name, run, py::arg("quantity"), py::arg("depths"), py::arg("symmetric"), py::arg("network"), py::arg("x"),
          py::arg("z"), py::arg("out"), py::arg("out_slice"), py::arg("out_stride"), py::arg("workspace"),
          py::arg("device"), py::arg("configuration") = -1);
  m.def("infinite_network_configurations", [] {
    constexpr int count = static_cast<int>(std::size(gatentk::cuda::infinite_configurations));
    return configuration_entries(std::make_integer_sequence<int, count>());
  });
}

}  // namespace gatentk::bind::cuda
