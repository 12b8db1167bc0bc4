#include "bind/register.hpp"
#include "bind/views.hpp"
#include "cpu/checksum.hpp"

namespace py = pybind11;

namespace gatentk::bind {

void register_checksum(py::module_& m) {
  m.def("checksum", [](std::uintptr_t data, std::int64_t bytes, std::uint64_t before, int threads) {
    const py::gil_scoped_release release;
    return cpu::checksum(pointer<const std::uint8_t>(data), bytes, before, threads);
  });
}

}  // namespace gatentk::bind
