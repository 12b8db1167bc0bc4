#include "gatentk/kernel_table.hpp"
#include "gatentk/peak.hpp"
#include "register.hpp"
#include "views.hpp"

namespace py = pybind11;

namespace gatentk::bind {

void register_machine(py::module_& m) {
  m.def("isa", [] { return kernels().isa; });
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (const char* const* name = available_isas(); *name; ++name) names.emplace_back(*name);
    return names;
  });
  m.def("select_isa", [](const std::string& name) { select_isa(name.c_str()); });
  m.def("fma_peak_f32", &measure_fma_peak<float>, py::call_guard<py::gil_scoped_release>());
  m.def("fma_peak_f64", &measure_fma_peak<double>, py::call_guard<py::gil_scoped_release>());
#ifdef _OPENMP
  m.attr("openmp") = true;
#else
  m.attr("openmp") = false;
#endif
}

}  // namespace gatentk::bind
