#include "bind/cuda/configurations.hpp"
#include "bind/cuda/device.hpp"
#include "bind/cuda/register.hpp"
#include "bind/views.hpp"
#include "cuda/ordered_linear/configurations.hpp"
#include "cuda/ordered_linear/ordered_linear.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

template <class T>
void run_ordered_linear(const ViewArgs& x, const ViewArgs& weight, bool relu, std::uintptr_t out,
                        std::int64_t out_stride, const DeviceArgs& device) {
  const OrderedProduct<T> product{view<T>(x), view<T>(weight), relu, pointer<T>(out), out_stride};
  const py::gil_scoped_release release;
  gatentk::cuda::ordered_linear(product, device_of(device));
}

}  // namespace

void register_ordered_linear(py::module_& m) {
  m.def("ordered_linear_f32", &run_ordered_linear<float>);
  m.def("ordered_linear_f64", &run_ordered_linear<double>);
  m.def("ordered_linear_configurations", [] {
    using namespace gatentk::cuda;
    py::list result;
    result.append(configuration_entry(ordered_tile.name,
                                      {"ordered_linear_kernel<float>", "ordered_linear_kernel<double>"},
                                      ordered_tile.threads(), ordered_shared_bytes));
    return result;
  });
}

}  // namespace gatentk::bind::cuda
