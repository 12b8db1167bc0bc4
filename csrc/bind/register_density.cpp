#include "bind/register.hpp"
#include "bind/views.hpp"
#include "cpu/density.hpp"
#include "cpu/workspace.hpp"

namespace py = pybind11;

namespace gatentk::bind {

namespace {

template <class T>
std::int64_t count_blocks_on(std::uintptr_t values, std::int64_t stride, std::int64_t rows, std::int64_t blocks,
                             std::int64_t block) {
  return cpu::count_blocks_on<T>({pointer<const T>(values), rows, blocks * block, stride}, blocks, block);
}

}  // namespace

void register_density(py::module_& m) {
  m.def("count_bits", [](const GateArgs& bits, std::int64_t rows, std::int64_t bytes) {
    return cpu::count_bits(gate_view(bits), rows, bytes);
  });
  m.def("count_blocks_on_f32", &count_blocks_on<float>);
  m.def("count_blocks_on_f64", &count_blocks_on<double>);
  m.def("advise_huge_pages",
        [](std::uintptr_t address, std::size_t bytes) { cpu::advise_huge_pages(pointer<void>(address), bytes); });
}

}  // namespace gatentk::bind
