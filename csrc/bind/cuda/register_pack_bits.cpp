#include "bind/cuda/configurations.hpp"
#include "bind/cuda/device.hpp"
#include "bind/cuda/register.hpp"
#include "bind/views.hpp"
#include "cuda/pack_bits/configurations.hpp"
#include "cuda/pack_bits/pack_bits.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

void register_pack_bits(py::module_& m) {
  m.def("pack_bits", [](std::uintptr_t mask, std::int64_t mask_stride, std::int64_t rows, std::int64_t width,
                        std::uintptr_t bits, std::int64_t row_bytes, const DeviceArgs& device) {
    const py::gil_scoped_release release;
    gatentk::cuda::pack_bits(
        {pointer<const std::uint8_t>(mask), mask_stride, rows, width, pointer<std::uint8_t>(bits), row_bytes},
        device_of(device));
  });
  m.def("unpack_bits", [](std::uintptr_t bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                          std::uintptr_t mask, const DeviceArgs& device) {
    const py::gil_scoped_release release;
    gatentk::cuda::unpack_bits(
        {pointer<const std::uint8_t>(bits), bits_stride, rows, width, pointer<std::uint8_t>(mask)}, device_of(device));
  });
  m.def("transpose_bits", [](std::uintptr_t bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                             std::uintptr_t out, std::int64_t out_bytes, const DeviceArgs& device) {
    const py::gil_scoped_release release;
    gatentk::cuda::transpose_bits(
        {pointer<const std::uint8_t>(bits), bits_stride, rows, width, pointer<std::uint8_t>(out), out_bytes},
        device_of(device));
  });
  // A single configuration for each kernel: nothing to choose.
  m.def("pack_bits_configurations", [] {
    using namespace gatentk::cuda;
    py::list result;
    result.append(configuration_entry("pack and unpack", {"pack_words", "unpack_words"}, pack_threads, 0));
    result.append(
        configuration_entry("transpose", {"transpose_tile"}, transpose_threads, TransposeLayout::shared_bytes));
    for (const py::handle entry : result) entry["architectures"] = all_architectures;
    return result;
  });
}

}  // namespace gatentk::bind::cuda
