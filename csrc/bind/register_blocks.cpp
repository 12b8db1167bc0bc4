#include "bind/register.hpp"
#include "bind/views.hpp"
#include "cpu/blocks.hpp"

namespace py = pybind11;

namespace gatentk::bind {

namespace {

// (address, rows, width, block, unit stride, row stride, padded, unit-major gates)
using BlockArgs =
    std::tuple<std::uintptr_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, bool, GateArgs>;

template <class T>
BlockView<T> block_view(const BlockArgs& args) {
  const auto& [data, rows, width, block, unit_stride, row_stride, padded, gates] = args;
  return {pointer<T>(data), rows, width, block, unit_stride, row_stride, padded, gate_view(gates)};
}

template <class T>
void run_block_product(const BlockArgs& z, std::uintptr_t weight, std::int64_t weight_stride, bool transposed,
                       const BlockArgs& out, int threads) {
  const BlockProduct<T> product{block_view<const T>(z), pointer<const T>(weight), weight_stride, transposed,
                                block_view<T>(out)};
  const py::gil_scoped_release release;
  cpu::block_product(product, threads);
}

template <class T>
void run_block_weight_gradient(const BlockArgs& left, const BlockArgs& right, std::uintptr_t out,
                               std::int64_t out_stride, int threads) {
  const BlockWeightGradient<T> gradient{block_view<const T>(left), block_view<const T>(right), pointer<T>(out),
                                        out_stride};
  const py::gil_scoped_release release;
  cpu::block_weight_gradient(gradient, threads);
}

template <class T>
void run_copy_blocks(const BlockArgs& from, const BlockArgs& to, int threads) {
  const BlockView<const T> source = block_view<const T>(from);
  const BlockView<T> target = block_view<T>(to);
  const py::gil_scoped_release release;
  cpu::copy_blocks(source, target, threads);
}

template <class T>
void run_gate_rows(std::uintptr_t values, std::int64_t values_stride, std::int64_t rows, std::int64_t width,
                   std::int64_t block, const GateArgs& gates, std::uintptr_t out, std::int64_t out_stride,
                   int threads) {
  const GateRowsProblem<T> problem{pointer<const T>(values), values_stride,   rows,      width, block,
                                   gate_view(gates),         pointer<T>(out), out_stride};
  const py::gil_scoped_release release;
  cpu::gate_rows(problem, threads);
}

template <class T>
void run_add_gated_bias(std::uintptr_t out, std::int64_t out_stride, std::int64_t rows, std::int64_t width,
                        std::int64_t block, const GateArgs& gates, std::uintptr_t bias, int threads) {
  const GatedBias<T> problem{pointer<T>(out), out_stride, rows, width, block, gate_view(gates), pointer<const T>(bias)};
  const py::gil_scoped_release release;
  cpu::add_gated_bias(problem, threads);
}

template <class T>
void run_gated_sums(std::uintptr_t values, std::int64_t values_stride, std::int64_t rows, std::int64_t width,
                    std::int64_t block, const GateArgs& gates, std::uintptr_t out, int threads) {
  const GatedSums<T> problem{pointer<const T>(values), values_stride,  rows, width, block,
                             gate_view(gates),         pointer<T>(out)};
  const py::gil_scoped_release release;
  cpu::gated_sums(problem, threads);
}

}  // namespace

void register_blocks(py::module_& m) {
  m.def("expand_bits", [](const GateArgs& bits, std::int64_t rows, std::int64_t width, std::int64_t block,
                          std::uintptr_t out, std::int64_t out_bytes, int threads) {
    const GateView view = gate_view(bits);
    const py::gil_scoped_release release;
    cpu::expand_bits({view.bits, view.stride, rows, width, block, pointer<std::uint8_t>(out), out_bytes}, threads);
  });
  m.def("block_product_f32", &run_block_product<float>);
  m.def("block_product_f64", &run_block_product<double>);
  m.def("block_weight_gradient_f32", &run_block_weight_gradient<float>);
  m.def("block_weight_gradient_f64", &run_block_weight_gradient<double>);
  m.def("copy_blocks_f32", &run_copy_blocks<float>);
  m.def("copy_blocks_f64", &run_copy_blocks<double>);
  m.def("gate_rows_f32", &run_gate_rows<float>);
  m.def("gate_rows_f64", &run_gate_rows<double>);
  m.def("add_gated_bias_f32", &run_add_gated_bias<float>);
  m.def("add_gated_bias_f64", &run_add_gated_bias<double>);
  m.def("gated_sums_f32", &run_gated_sums<float>);
  m.def("gated_sums_f64", &run_gated_sums<double>);
}

}  // namespace gatentk::bind
