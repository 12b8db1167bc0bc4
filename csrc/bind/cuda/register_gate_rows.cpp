#include "bind/cuda/configurations.hpp"
#include "bind/cuda/device.hpp"
#include "bind/cuda/register.hpp"
#include "bind/views.hpp"
#include "cuda/gate_rows/configurations.hpp"
#include "cuda/gate_rows/gate_rows.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

template <class T>
void run_gate_rows(std::uintptr_t values, std::int64_t values_stride, std::int64_t rows, std::int64_t width,
                   std::int64_t block, const GateArgs& gates, std::uintptr_t out, std::int64_t out_stride,
                   const DeviceArgs& device) {
  const GateRowsProblem<T> problem{pointer<const T>(values), values_stride,   rows,      width, block,
                                   gate_view(gates),         pointer<T>(out), out_stride};
  const py::gil_scoped_release release;
  gatentk::cuda::gate_rows(problem, device_of(device));
}

}  // namespace

void register_gate_rows(py::module_& m) {
  m.def("gate_rows_f32", &run_gate_rows<float>);
  m.def("gate_rows_f64", &run_gate_rows<double>);
  m.def("gate_rows_bf16", &run_gate_rows<gatentk::cuda::Bfloat16>);
  // What rows allow, not a choice.
  m.def("gate_rows_configurations", [] {
    using namespace gatentk::cuda;
    py::list result;
    result.append(configuration_entry("chunks",
                                      {"gate_rows_kernel<2, 8>", "gate_rows_kernel<4, 4>", "gate_rows_kernel<8, 2>"},
                                      gate_rows_threads, 0));
    result.append(configuration_entry("elements",
                                      {"gate_rows_kernel<2, 1>", "gate_rows_kernel<4, 1>", "gate_rows_kernel<8, 1>"},
                                      gate_rows_threads, 0));
    for (const py::handle entry : result) entry["architectures"] = all_architectures;
    return result;
  });
}

}  // namespace gatentk::bind::cuda
