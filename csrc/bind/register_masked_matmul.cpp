#include "bind/register.hpp"
#include "bind/views.hpp"
#include "cpu/masked_matmul.hpp"

namespace py = pybind11;

namespace gatentk::bind {

namespace {

template <class T>
void run_masked_matmul(const ViewArgs& left, std::uintptr_t plan, const ViewArgs& columns, std::uintptr_t out,
                       std::int64_t out_stride, const GateArgs& gates, int threads) {
  const MaskedProduct<T> product{view<T>(left), view<T>(columns), pointer<T>(out), out_stride, gate_view(gates)};
  const py::gil_scoped_release release;
  cpu::masked_matmul(product, pointer<const cpu::PlanBlock>(plan), threads);
}

}  // namespace

void register_masked_matmul(py::module_& m) {
  m.attr("group_rows") = cpu::group_rows;
  m.attr("block_columns") = cpu::block_columns;
  m.attr("plan_bytes") = sizeof(cpu::PlanBlock);
  m.def("masked_matmul_f32", &run_masked_matmul<float>);
  m.def("masked_matmul_f64", &run_masked_matmul<double>);
  m.def("build_plan", [](const GateArgs& gates, bool transposed, std::int64_t rows, std::int64_t columns,
                         std::uintptr_t plan, int threads) {
    const GateView bits = gate_view(gates);
    const py::gil_scoped_release release;
    cpu::build_plan(bits, transposed, rows, columns, pointer<cpu::PlanBlock>(plan), threads);
  });
}

}  // namespace gatentk::bind
