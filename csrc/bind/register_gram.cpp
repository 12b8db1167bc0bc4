#include "bind/register.hpp"
#include "bind/views.hpp"
#include "cpu/gram.hpp"

namespace py = pybind11;

namespace gatentk::bind {

namespace {

// (act rows, act columns, delta rows, delta columns, bias)
using TermArgs = std::tuple<ViewArgs, ViewArgs, ViewArgs, ViewArgs, double>;

template <class T>
void run_gram(std::int64_t rows, std::int64_t columns, bool symmetric, const std::vector<TermArgs>& terms,
              std::uintptr_t out, std::int64_t out_stride, int threads) {
  GramProblem<T> problem;
  problem.rows = rows;
  problem.columns = columns;
  problem.symmetric = symmetric;
  for (const auto& [act_rows, act_columns, delta_rows, delta_columns, bias] : terms)
    problem.terms.push_back(
        {{view<T>(act_rows), view<T>(act_columns)}, {view<T>(delta_rows), view<T>(delta_columns)}, bias});
  problem.out = pointer<T>(out);
  problem.out_stride = out_stride;
  const py::gil_scoped_release release;
  cpu::gram(problem, threads);
}

}  // namespace

void register_gram(py::module_& m) {
  m.def("gram_f32", &run_gram<float>);
  m.def("gram_f64", &run_gram<double>);
}

}  // namespace gatentk::bind
