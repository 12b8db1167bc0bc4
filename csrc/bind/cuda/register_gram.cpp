#include "bind/cuda/configurations.hpp"
#include "bind/cuda/device.hpp"
#include "bind/cuda/register.hpp"
#include "bind/views.hpp"
#include "cuda/gram/configurations.hpp"
#include "cuda/gram/gram.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

// (act rows, act columns, delta rows, delta columns, bias)
using TermArgs = std::tuple<ViewArgs, ViewArgs, ViewArgs, ViewArgs, double>;

template <class T>
void run_gram(std::int64_t rows, std::int64_t columns, bool symmetric, const std::vector<TermArgs>& terms,
              std::uintptr_t out, std::int64_t out_stride, int precision, const DeviceArgs& device, int configuration) {
  GramProblem<T> problem;
  problem.rows = rows;
  problem.columns = columns;
  problem.symmetric = symmetric;
  for (const auto& [act_rows, act_columns, delta_rows, delta_columns, bias] : terms)
    problem.terms.push_back(
        {{view<T>(act_rows), view<T>(act_columns)}, {view<T>(delta_rows), view<T>(delta_columns)}, bias});
  problem.out = pointer<T>(out);
  problem.out_stride = out_stride;
  const gatentk::cuda::Precision chosen = precision_of(precision);
  const py::gil_scoped_release release;
  gatentk::cuda::gram(problem, chosen, device_of(device), configuration);
}

template <class T>
void define_gram(py::module_& m, const char* name) {
  m.def(name, &run_gram<T>, py::arg("rows"), py::arg("columns"), py::arg("symmetric"), py::arg("terms"), py::arg("out"),
        py::arg("out_stride"), py::arg("precision"), py::arg("device"), py::arg("configuration") = -1);
}

}  // namespace

void register_gram(py::module_& m) {
  define_gram<float>(m, "gram_f32");
  define_gram<double>(m, "gram_f64");
  m.def("gram_configurations", [] {
    return tile_configurations(gatentk::cuda::gram_table, "gram_kernel", &gatentk::cuda::gram_shared_bytes);
  });
  m.def("choose_gram", [](const std::string& arithmetic, const DeviceArgs& device, std::int64_t rows,
                          std::int64_t columns, bool symmetric) {
    return gatentk::cuda::choose_gram(arithmetic_named(arithmetic), device_of(device), rows, columns, symmetric);
  });
}

}  // namespace gatentk::bind::cuda
