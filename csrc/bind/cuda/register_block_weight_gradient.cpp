#include "bind/cuda/configurations.hpp"
#include "bind/cuda/device.hpp"
#include "bind/cuda/register.hpp"
#include "bind/views.hpp"
#include "cuda/block_matmul/block_weight_gradient.hpp"
#include "cuda/block_matmul/weight_gradient_configurations.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

template <class T>
void run_block_weight_gradient(const ViewArgs& left, const ViewArgs& right, std::uintptr_t out, std::int64_t out_stride,
                               const GateArgs& unit_gates_left, std::int64_t block_left,
                               const GateArgs& unit_gates_right, std::int64_t block_right, int precision,
                               const DeviceArgs& device, int configuration) {
  const gatentk::cuda::BlockWeightGradient<T> gradient{view<T>(left),
                                                       view<T>(right),
                                                       pointer<T>(out),
                                                       out_stride,
                                                       gate_view(unit_gates_left),
                                                       gate_view(unit_gates_right),
                                                       block_left,
                                                       block_right};
  const gatentk::cuda::Precision chosen = precision_of(precision);
  const py::gil_scoped_release release;
  gatentk::cuda::block_weight_gradient(gradient, chosen, device_of(device), configuration);
}

template <class T>
void define_block_weight_gradient(py::module_& m, const char* name) {
  m.def(name, &run_block_weight_gradient<T>, py::arg("left"), py::arg("right"), py::arg("out"), py::arg("out_stride"),
        py::arg("unit_gates_left"), py::arg("block_left"), py::arg("unit_gates_right"), py::arg("block_right"),
        py::arg("precision"), py::arg("device"), py::arg("configuration") = -1);
}

}  // namespace

void register_block_weight_gradient(py::module_& m) {
  define_block_weight_gradient<float>(m, "block_weight_gradient_f32");
  define_block_weight_gradient<double>(m, "block_weight_gradient_f64");
  define_block_weight_gradient<gatentk::cuda::Bfloat16>(m, "block_weight_gradient_bf16");
  m.def("block_weight_gradient_configurations", [] {
    return tile_configurations(gatentk::cuda::weight_gradient_table, "weight_gradient_kernel",
                               &gatentk::cuda::weight_gradient_shared_bytes);
  });
  // Rows and columns are those of the weights; a block of 0 says that the side has no gates.
  m.def("choose_block_weight_gradient", [](const std::string& arithmetic, const DeviceArgs& device, std::int64_t rows,
                                           std::int64_t block_left, std::int64_t columns, std::int64_t block_right) {
    const auto extent = [](std::int64_t size, std::int64_t block) {
      return gatentk::cuda::UnitExtent{size, block > 0 && block < size ? block : size > 0 ? size : 1};
    };
    return gatentk::cuda::choose_weight_gradient(arithmetic_named(arithmetic), device_of(device),
                                                 extent(rows, block_left), extent(columns, block_right));
  });
}

}  // namespace gatentk::bind::cuda
