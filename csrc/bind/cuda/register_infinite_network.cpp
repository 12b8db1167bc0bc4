#include <array>
#include <string>
#include <utility>
#include <vector>

#include "bind/cuda/device.hpp"
#include "bind/cuda/infinite.hpp"
#include "bind/cuda/register.hpp"
#include "cuda/infinite_ntk/infinite_network.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

// slope, first, weight, bias
using NetworkArgs = std::array<double, 4>;

template <class T>
InfiniteProblem<T> problem_of(int quantity, const std::vector<std::int64_t>& depths, bool symmetric,
                              const NetworkArgs& network, const ViewArgs& x, const ViewArgs& z) {
  InfiniteProblem<T> problem = infinite_problem<T>(quantity_of(quantity, true), depths, symmetric, x, z);
  problem.network = {network[0], network[1], network[2], network[3]};
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

py::list configurations() {
  return infinite_configuration_entries(
      [](const std::string& arguments, bool doubles) {
        std::vector<std::string> kernels = {"piecewise_network" + arguments};
        if (doubles) kernels.push_back("smooth_network" + arguments);
        return kernels;
      },
      configuration_entry("samples", {"network_samples<float>", "network_samples<double>"},
                          gatentk::cuda::network_sample_threads, gatentk::cuda::network_sample_bytes));
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
  m.def("infinite_network_configurations", &configurations);
}

}  // namespace gatentk::bind::cuda
