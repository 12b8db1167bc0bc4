#include <array>

#include "bind/register.hpp"
#include "bind/views.hpp"
#include "cpu/infinite_ntk.hpp"

namespace py = pybind11;

namespace gatentk::bind {

namespace {

template <class T>
void run_infinite_ntk(Quantity quantity, const std::vector<std::int64_t>& depths, bool symmetric, const ViewArgs& x,
                      const ViewArgs& z, std::uintptr_t out, std::int64_t out_slice, std::int64_t out_stride,
                      const std::array<double, 4>& network, int threads) {
  InfiniteProblem<T> problem;
  problem.quantity = quantity;
  problem.depths = depths;
  problem.symmetric = symmetric;
  problem.network = {network[0], network[1], network[2], network[3]};
  problem.x = view<T>(x);
  problem.z = view<T>(z);
  problem.out = pointer<T>(out);
  problem.out_slice = out_slice;
  problem.out_stride = out_stride;
  const py::gil_scoped_release release;
  cpu::infinite_ntk(problem, threads);
}

}  // namespace

void register_infinite_ntk(py::module_& m) {
  py::enum_<Quantity> names(m, "Quantity");
  for (const NamedQuantity& named : quantities) names.value(named.name, named.quantity);
  m.def("infinite_ntk_f32", &run_infinite_ntk<float>);
  m.def("infinite_ntk_f64", &run_infinite_ntk<double>);
}

}  // namespace gatentk::bind
