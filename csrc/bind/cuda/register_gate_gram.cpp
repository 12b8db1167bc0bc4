#include <string>
#include <utility>
#include <vector>

#include "bind/cuda/configurations.hpp"
#include "bind/cuda/device.hpp"
#include "bind/cuda/register.hpp"
#include "bind/views.hpp"
#include "cuda/gate_gram/configurations.hpp"
#include "cuda/gate_gram/gate_gram.hpp"

namespace py = pybind11;

namespace gatentk::bind::cuda {

namespace {

template <int index>
py::dict indexed_entry() {
  constexpr gatentk::cuda::GateGramConfiguration configuration = gatentk::cuda::gate_gram_configurations[index];
  using Layout = gatentk::cuda::ConfiguredGateGram<index>;
  const std::string arguments = std::to_string(configuration.side) + ", " + (configuration.tensor ? "true" : "false");
  py::dict entry = configuration_entry(configuration.name, {"gate_gram_tile<" + arguments + ">"}, Layout::threads,
                                       Layout::shared_bytes);
  entry["tile_rows"] = configuration.side;
  entry["tile_columns"] = configuration.side;
  entry["stages"] = Layout::stages;
  std::vector<int> architectures;
  for (const int architecture : all_architectures)
    if (gatentk::cuda::serves(configuration, architecture)) architectures.push_back(architecture);
  entry["architectures"] = architectures;
  return entry;
}

template <int... index>
py::list configuration_entries(std::integer_sequence<int, index...>) {
  py::list result;
  (result.append(indexed_entry<index>()), ...);
  return result;
}

}  // namespace

void register_gate_gram(py::module_& m) {
  m.def(
      "gate_gram",
      [](const GateArgs& rows, std::int64_t row_count, const GateArgs& columns, std::int64_t column_count,
         std::int64_t row_bytes, bool symmetric, std::uintptr_t out, const DeviceArgs& device, int configuration) {
        const GateGram problem{gate_view(rows), gate_view(columns),        row_count, column_count, row_bytes,
                               symmetric,       pointer<std::int32_t>(out)};
        const py::gil_scoped_release release;
        gatentk::cuda::gate_gram(problem, device_of(device), configuration);
      },
      py::arg("rows"), py::arg("row_count"), py::arg("columns"), py::arg("column_count"), py::arg("row_bytes"),
      py::arg("symmetric"), py::arg("out"), py::arg("device"), py::arg("configuration") = -1);
  m.def("gate_gram_configurations", [] {
    constexpr int count = static_cast<int>(std::size(gatentk::cuda::gate_gram_configurations));
    return configuration_entries(std::make_integer_sequence<int, count>());
  });
  m.def("choose_gate_gram", [](const DeviceArgs& device, std::int64_t rows, std::int64_t columns, bool symmetric) {
    return gatentk::cuda::choose_gate_gram(device_of(device), rows, columns, symmetric);
  });
}

}  // namespace gatentk::bind::cuda
