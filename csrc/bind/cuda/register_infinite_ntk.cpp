#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bind/cuda/configurations.hpp"
#include "bind/cuda/device.hpp"
#include "bind/cuda/register.hpp"
#include "bind/views.hpp"
#include "cuda/infinite_ntk/configurations.hpp"
#include "cuda/infinite_ntk/infinite_ntk.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

Quantity quantity_of(int index) {
  if (index < 0 || index >= static_cast<int>(std::size(quantities)) || of_network(quantities[index].quantity))
    throw std::invalid_argument("quantity: expected an index in Quantity of no network, got " + std::to_string(index));
  return quantities[index].quantity;
}

template <class T>
InfiniteProblem<T> problem_of(int quantity, const std::vector<std::int64_t>& depths, bool symmetric, const ViewArgs& x,
                              const ViewArgs& z) {
  InfiniteProblem<T> problem;
  problem.quantity = quantity_of(quantity);
  problem.depths = depths;
  problem.symmetric = symmetric;
  problem.x = view<T>(x);
  problem.z = view<T>(z);
  return problem;
}

template <class T>
std::int64_t infinite_workspace(int quantity, const std::vector<std::int64_t>& depths, bool symmetric,
                                const ViewArgs& x, const ViewArgs& z) {
  return gatentk::cuda::infinite_workspace(problem_of<T>(quantity, depths, symmetric, x, z));
}

template <class T>
void run_infinite_ntk(int quantity, const std::vector<std::int64_t>& depths, bool symmetric, const ViewArgs& x,
                      const ViewArgs& z, std::uintptr_t out, std::int64_t out_slice, std::int64_t out_stride,
                      std::uintptr_t workspace, const DeviceArgs& device, int configuration) {
  InfiniteProblem<T> problem = problem_of<T>(quantity, depths, symmetric, x, z);
  problem.out = pointer<T>(out);
  problem.out_slice = out_slice;
  problem.out_stride = out_stride;
  const py::gil_scoped_release release;
  gatentk::cuda::infinite_ntk(problem, pointer<T>(workspace), device_of(device), configuration);
}

template <int index>
py::dict indexed_entry() {
  constexpr gatentk::cuda::InfiniteConfiguration configuration = gatentk::cuda::infinite_configurations[index];
  using Layout = gatentk::cuda::ConfiguredInfinite<index>;
  const std::string arguments = std::string(configuration.element_bytes == 4 ? "<float, " : "<double, ") +
                                std::to_string(configuration.side) + ">";
  py::dict entry =
      configuration_entry(configuration.name, {"infinite_sweep" + arguments, "infinite_components" + arguments},
                          Layout::threads, Layout::shared_bytes);
  entry["architectures"] = all_architectures;
  entry["tile_rows"] = configuration.side;
  entry["tile_columns"] = configuration.side;
  entry["stages"] = Layout::stages;
  return entry;
}

// The table, and after it what every configuration starts first.
template <int... index>
py::list configuration_entries(std::integer_sequence<int, index...>) {
  py::list result;
  (result.append(indexed_entry<index>()), ...);
  py::dict norms =
      configuration_entry("norms", {"sample_norms<float>", "sample_norms<double>"}, gatentk::cuda::norm_threads, 0);
  norms["architectures"] = all_architectures;
  result.append(norms);
  return result;
}

}  // namespace

void register_infinite_ntk(py::module_& m) {
  m.def("infinite_workspace_f32", &infinite_workspace<float>);
  m.def("infinite_workspace_f64", &infinite_workspace<double>);
  for (const auto& [name, run] :
       {std::pair{"infinite_ntk_f32", &run_infinite_ntk<float>}, {"infinite_ntk_f64", &run_infinite_ntk<double>}})
    m.def(name, run, py::arg("quantity"), py::arg("depths"), py::arg("symmetric"), py::arg("x"), py::arg("z"),
          py::arg("out"), py::arg("out_slice"), py::arg("out_stride"), py::arg("workspace"), py::arg("device"),
          py::arg("configuration") = -1);
  m.def("infinite_ntk_configurations", [] {
    constexpr int count = static_cast<int>(std::size(gatentk::cuda::infinite_configurations));
    return configuration_entries(std::make_integer_sequence<int, count>());
  });
  m.def("choose_infinite_ntk",
        [](const DeviceArgs& device, int element_bytes, std::int64_t rows, std::int64_t columns, bool symmetric) {
          return gatentk::cuda::choose_infinite_ntk(device_of(device), element_bytes, rows, columns, symmetric);
        });
}

}  // namespace gatentk::bind::cuda
