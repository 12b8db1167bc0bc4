#include "gatentk/masked_matmul.hpp"
#include "register.hpp"
#include "views.hpp"

namespace py = pybind11;

namespace gatentk::bind {

namespace {

template <class T>
void run_masked_matmul(const ViewArgs& left, std::uintptr_t plan, const ViewArgs& columns, std::uintptr_t out,
                       std::int64_t out_stride, const GateArgs& gates, int threads) {
  const MaskedProduct<T> product{
      view<T>(left), pointer<const PlanBlock>(plan), view<T>(columns), pointer<T>(out), out_stride, gate_view(gates)};
  const py::gil_scoped_release release;
  masked_matmul(product, threads);
}

template <class T>
void run_ordered_linear(const ViewArgs& x, const ViewArgs& weight, bool relu, std::uintptr_t out,
                        std::int64_t out_stride, int threads) {
  const RowsView<T> rows = view<T>(x), columns = view<T>(weight);
  const py::gil_scoped_release release;
  ordered_linear(rows, columns, relu, pointer<T>(out), out_stride, threads);
}

}  // namespace

void register_masked_matmul(py::module_& m) {
  m.attr("group_rows") = group_rows;
  m.attr("block_columns") = block_columns;
  m.attr("plan_bytes") = sizeof(PlanBlock);
  m.def("masked_matmul_f32", &run_masked_matmul<float>);
  m.def("masked_matmul_f64", &run_masked_matmul<double>);
  m.def("ordered_linear_f32", &run_ordered_linear<float>);
  m.def("ordered_linear_f64", &run_ordered_linear<double>);
  m.def("build_plan", [](const GateArgs& gates, bool transposed, std::int64_t rows, std::int64_t columns,
                         std::uintptr_t plan, int threads) {
    const GateView bits = gate_view(gates);
    const py::gil_scoped_release release;
    build_plan(bits, transposed, rows, columns, pointer<PlanBlock>(plan), threads);
  });
}

}  // namespace gatentk::bind
