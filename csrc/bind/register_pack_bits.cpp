#include "bind/register.hpp"
#include "bind/views.hpp"
#include "cpu/pack_bits.hpp"

namespace py = pybind11;

namespace gatentk::bind {

void register_pack_bits(py::module_& m) {
  m.def("pack_bits", [](std::uintptr_t mask, std::int64_t mask_stride, std::int64_t rows, std::int64_t width,
                        std::uintptr_t bits, std::int64_t row_bytes, int threads) {
    const py::gil_scoped_release release;
    cpu::pack_bits(
        {pointer<const std::uint8_t>(mask), mask_stride, rows, width, pointer<std::uint8_t>(bits), row_bytes}, threads);
  });
  m.def("unpack_bits", [](std::uintptr_t bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                          std::uintptr_t mask, int threads) {
    const py::gil_scoped_release release;
    cpu::unpack_bits({pointer<const std::uint8_t>(bits), bits_stride, rows, width, pointer<std::uint8_t>(mask)},
                     threads);
  });
  m.def("transpose_bits", [](std::uintptr_t bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                             std::uintptr_t out, std::int64_t out_bytes, int threads) {
    const py::gil_scoped_release release;
    cpu::transpose_bits(
        {pointer<const std::uint8_t>(bits), bits_stride, rows, width, pointer<std::uint8_t>(out), out_bytes}, threads);
  });
}

}  // namespace gatentk::bind
