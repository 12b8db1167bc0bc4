#include <string>
#include <utility>
#include <vector>

#include "bind/cuda/device.hpp"
#include "bind/cuda/infinite.hpp"
#include "bind/cuda/register.hpp"
#include "cuda/infinite_ntk/infinite_ntk.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

template <class T>
std::int64_t infinite_workspace(int quantity, const std::vector<std::int64_t>& depths, bool symmetric,
                                const ViewArgs& x, const ViewArgs& z) {
  return gatentk::cuda::infinite_workspace(infinite_problem<T>(quantity_of(quantity, false), depths, symmetric, x, z));
}

template <class T>
void run_infinite_ntk(int quantity, const std::vector<std::int64_t>& depths, bool symmetric, const ViewArgs& x,
                      const ViewArgs& z, std::uintptr_t out, std::int64_t out_slice, std::int64_t out_stride,
                      std::uintptr_t workspace, const DeviceArgs& device, int configuration) {
  InfiniteProblem<T> problem = infinite_problem<T>(quantity_of(quantity, false), depths, symmetric, x, z);
  problem.out = pointer<T>(out);
  problem.out_slice = out_slice;
  problem.out_stride = out_stride;
  const py::gil_scoped_release release;
  gatentk::cuda::infinite_ntk(problem, pointer<T>(workspace), device_of(device), configuration);
}

py::list configurations() {
  return infinite_configuration_entries(
      [](const std::string& arguments, bool) {
        return std::vector<std::string>{"infinite_sweep" + arguments, "infinite_components" + arguments};
      },
      configuration_entry("norms", {"sample_norms<float>", "sample_norms<double>"}, gatentk::cuda::norm_threads, 0));
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
  m.def("infinite_ntk_configurations", &configurations);
  m.def("choose_infinite_ntk",
        [](const DeviceArgs& device, int element_bytes, std::int64_t rows, std::int64_t columns, bool symmetric) {
          return gatentk::cuda::choose_infinite_ntk(device_of(device), element_bytes, rows, columns, symmetric);
        });
}

}  // namespace gatentk::bind::cuda
