#include "bind/cuda/configurations.hpp"
#include "bind/cuda/device.hpp"
#include "bind/cuda/register.hpp"
#include "bind/views.hpp"
#include "cuda/block_matmul/block_matmul.hpp"
#include "cuda/block_matmul/configurations.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

template <class T>
void run_block_matmul(const ViewArgs& left, const ViewArgs& right, std::uintptr_t out, std::int64_t out_stride,
                      std::uintptr_t lists, std::int64_t block_out, std::int64_t block_left, int precision,
                      const DeviceArgs& device, int configuration) {
  const gatentk::cuda::BlockMatmul<T> product{
      view<T>(left), view<T>(right), pointer<T>(out), out_stride, pointer<const std::int32_t>(lists),
      block_out,     block_left};
  const gatentk::cuda::Precision chosen = precision_of(precision);
  const py::gil_scoped_release release;
  gatentk::cuda::block_matmul(product, chosen, device_of(device), configuration);
}

template <class T>
void define_block_matmul(py::module_& m, const char* name) {
  m.def(name, &run_block_matmul<T>, py::arg("left"), py::arg("right"), py::arg("out"), py::arg("out_stride"),
        py::arg("lists"), py::arg("block_out"), py::arg("block_left"), py::arg("precision"), py::arg("device"),
        py::arg("configuration") = -1);
}

}  // namespace

void register_block_matmul(py::module_& m) {
  m.def("block_lists",
        [](const GateArgs& gates, std::int64_t units, std::int64_t n, std::uintptr_t out, const DeviceArgs& device) {
          const py::gil_scoped_release release;
          gatentk::cuda::block_lists({gate_view(gates), units, n, pointer<std::int32_t>(out)}, device_of(device));
        });
  define_block_matmul<float>(m, "block_matmul_f32");
  define_block_matmul<double>(m, "block_matmul_f64");
  define_block_matmul<gatentk::cuda::Bfloat16>(m, "block_matmul_bf16");
  m.def("block_matmul_configurations", [] {
    py::list result = tile_configurations(gatentk::cuda::block_matmul_table, "block_matmul_kernel",
                                          &gatentk::cuda::block_matmul_shared_bytes);
    // Forward products, and input gradients, whose right factor has k outer.
    for (int i = 0; i < gatentk::cuda::block_matmul_configurations; ++i) {
      const std::string kernel = "block_matmul_kernel<" + std::to_string(i);
      result[i]["kernels"] = std::vector<std::string>{kernel + ", 0>", kernel + ", 1>"};
    }
    // After the table what makes its lists.
    py::dict lists = configuration_entry("lists", {"block_lists_kernel"}, gatentk::cuda::list_threads,
                                         gatentk::cuda::list_shared_bytes);
    lists["architectures"] = all_architectures;
    result.append(lists);
    return result;
  });
  m.def("choose_block_matmul", [](const std::string& arithmetic, const DeviceArgs& device, std::int64_t n,
                                  std::int64_t columns, std::int64_t block) {
    return gatentk::cuda::choose_block_matmul(arithmetic_named(arithmetic), device_of(device), n, columns, block);
  });
}

}  // namespace gatentk::bind::cuda
