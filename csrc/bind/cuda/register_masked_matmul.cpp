#include "bind/cuda/configurations.hpp"
#include "bind/cuda/device.hpp"
#include "bind/cuda/register.hpp"
#include "bind/views.hpp"
#include "cuda/masked_matmul/configurations.hpp"
#include "cuda/masked_matmul/masked_matmul.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

template <class T>
void run_masked_matmul(const ViewArgs& left, const ViewArgs& columns, std::uintptr_t out, std::int64_t out_stride,
                       const GateArgs& gates, int precision, const DeviceArgs& device, int configuration) {
  const MaskedProduct<T> product{view<T>(left), view<T>(columns), pointer<T>(out), out_stride, gate_view(gates)};
  const gatentk::cuda::Precision chosen = precision_of(precision);
  const py::gil_scoped_release release;
  gatentk::cuda::masked_matmul(product, chosen, device_of(device), configuration);
}

template <class T>
void define_masked_matmul(py::module_& m, const char* name) {
  m.def(name, &run_masked_matmul<T>, py::arg("left"), py::arg("columns"), py::arg("out"), py::arg("out_stride"),
        py::arg("gates"), py::arg("precision"), py::arg("device"), py::arg("configuration") = -1);
}

}  // namespace

void register_masked_matmul(py::module_& m) {
  define_masked_matmul<float>(m, "masked_matmul_f32");
  define_masked_matmul<double>(m, "masked_matmul_f64");
  define_masked_matmul<gatentk::cuda::Bfloat16>(m, "masked_matmul_bf16");
  m.def("masked_matmul_configurations", [] {
    return tile_configurations(gatentk::cuda::masked_matmul_table, "masked_matmul_kernel",
                               &gatentk::cuda::masked_matmul_shared_bytes);
  });
  m.def("choose_masked_matmul",
        [](const std::string& arithmetic, const DeviceArgs& device, std::int64_t rows, std::int64_t columns) {
          return gatentk::cuda::choose_masked_matmul(arithmetic_named(arithmetic), device_of(device), rows, columns);
        });
}

}  // namespace gatentk::bind::cuda
