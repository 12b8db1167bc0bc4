#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bind/register.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/parallel.hpp"
#include "cpu/peak.hpp"

namespace py = pybind11;

namespace gatentk::bind {

void register_machine(py::module_& m) {
  m.def("isa", [] { return cpu::kernels().isa; });
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (const char* const* name = cpu::available_isas(); *name; ++name) names.emplace_back(*name);
    return names;
  });
  m.def("select_isa", [](const std::string& name) { cpu::select_isa(name.c_str()); });
  m.def("fma_peak_f32", &cpu::measure_fma_peak<float>, py::call_guard<py::gil_scoped_release>());
  m.def("fma_peak_f64", &cpu::measure_fma_peak<double>, py::call_guard<py::gil_scoped_release>());
  m.def("forked", &cpu::forked);
#ifdef _OPENMP
  m.attr("openmp") = true;
#else
  m.attr("openmp") = false;
#endif
}

}  // namespace gatentk::bind
