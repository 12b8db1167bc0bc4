#include "bind/register.hpp"
#include "bind/views.hpp"
#include "cpu/gate_gram.hpp"

namespace py = pybind11;

namespace gatentk::bind {

void register_gate_gram(py::module_& m) {
  m.def("gate_gram",
        [](const GateArgs& rows, std::int64_t row_count, const GateArgs& columns, std::int64_t column_count,
           std::int64_t row_bytes, bool symmetric, std::uintptr_t out, int threads) {
          const GateGram problem{gate_view(rows), gate_view(columns),        row_count, column_count, row_bytes,
                                 symmetric,       pointer<std::int32_t>(out)};
          const py::gil_scoped_release release;
          cpu::gate_gram(problem, threads);
        });
}

}  // namespace gatentk::bind
