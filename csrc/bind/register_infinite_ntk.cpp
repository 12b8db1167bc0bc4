#include "gatentk/infinite_ntk.hpp"
#include "register.hpp"
#include "views.hpp"

namespace py = pybind11;

namespace gatentk::bind {

namespace {

template <class T>
void run_infinite_ntk(Quantity quantity, const std::vector<std::int64_t>& depths, bool symmetric, const ViewArgs& x,
                      const ViewArgs& z, std::uintptr_t out, std::int64_t out_slice, std::int64_t out_stride,
                      int threads) {
  InfiniteProblem<T> problem;
  problem.quantity = quantity;
  problem.depths = depths;
  problem.symmetric = symmetric;
  problem.x = view<T>(x);
  problem.z = view<T>(z);
  problem.out = pointer<T>(out);
  problem.out_slice = out_slice;
  problem.out_stride = out_stride;
  const py::gil_scoped_release release;
  infinite_ntk(problem, threads);
}

}  // namespace

void register_infinite_ntk(py::module_& m) {
  py::enum_<Quantity>(m, "Quantity")
      .value("relu", Quantity::relu)
      .value("relu_components", Quantity::relu_components)
      .value("relu_angle", Quantity::relu_angle)
      .value("grelu", Quantity::grelu)
      .value("grelu_angle", Quantity::grelu_angle)
      .value("embedding_angle", Quantity::embedding_angle);
  m.def("infinite_ntk_f32", &run_infinite_ntk<float>);
  m.def("infinite_ntk_f64", &run_infinite_ntk<double>);
}

}  // namespace gatentk::bind
