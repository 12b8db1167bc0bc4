#include <string>
#include <type_traits>

#include "cuda/block_matmul/block_weight_gradient.hpp"
#include "cuda/block_matmul/weight_gradient_kernel.cuh"
#include "cuda/device/launch.cuh"
#include "cuda/tile/operand.hpp"

namespace gatentk::cuda {

namespace {

void check_chunks(const char* name, const char* what, std::int64_t elements, int size) {
  if (elements % (16 / size))
    refuse(name, std::string(what) + ": expected a multiple of 16 bytes, got " + std::to_string(elements) +
                     " elements of " + std::to_string(size));
}

template <class T>
SampleRows<T> sample_rows(const char* name, const RowsView<T>& view, const GateView& units, std::int64_t block) {
  constexpr int size = sizeof(T);
  if (!view.transposed) refuse(name, "expected a transposed view, of a matrix with a row for each sample");
  if (view.gates.bits) refuse(name, "expected no gates but those of units");
  if (!aligned(view.data, 16)) refuse(name, "expected an address that is a multiple of 16");
  check_chunks(name, "stride", view.stride, size);
  check_chunks(name, "rows", view.rows, size);
  if (units.bits) {
    if (block <= 0) refuse(name, "expected blocks of one neuron at least, got " + std::to_string(block));
    check_chunks(name, "block", block, size);
    if (!aligned(units.bits, 4) || units.stride % 4) refuse(name, "expected rows of bits at multiples of 4 bytes");
  }
  return {view.data,
          kernel_size(view.stride * size, name),
          kernel_size(view.rows, name),
          kernel_size(units.bits && block < view.rows ? block : view.rows, name),
          reinterpret_cast<const unsigned*>(units.bits),
          units.stride / 4};
}

template <class T>
Arithmetic arithmetic_for(Precision precision, std::int64_t n) {
  if (std::is_same_v<T, double>) return Arithmetic::f64;
  if (sizeof(T) == 2) return Arithmetic::bf16;
  const Arithmetic arithmetic = arithmetic_of(precision, n);
  if (precision == Precision::strict) refuse("precision", "expected tf32x3 or tf32, got strict");
  if (arithmetic == Arithmetic::fma)
    refuse("precision",
           "expected " + std::to_string(min_tf32x3_width) + " samples at least for tf32x3, got " + std::to_string(n));
  return arithmetic;
}

template <int configuration>
void start(const WeightGradientArguments<typename WeightGradientTile<configuration>::Element>& arguments,
           const Device& device) {
  constexpr TileConfiguration tile = weight_gradient_table[configuration];
  check_shared_bytes("block_weight_gradient", weight_gradient_shared_bytes(tile), device);
  const std::int64_t down = UnitExtent{arguments.left.size, arguments.left.block}.tiles(tile.rows);
  const std::int64_t across = UnitExtent{arguments.right.size, arguments.right.block}.tiles(tile.columns);
  const Grid grid{dim3(static_cast<unsigned>(kernel_size(down * across, "out"))), tile.threads(),
                  weight_gradient_shared_bytes(tile), device.stream};
  launch(weight_gradient_kernel<configuration>, "block_weight_gradient", grid, arguments, static_cast<int>(down),
         static_cast<int>(across));
}

// Starts the kernel of `configuration`, one of those of T.
template <class T, int index = 0>
void start_configuration(int configuration, const WeightGradientArguments<T>& arguments, const Device& device) {
  if constexpr (index < weight_gradient_configurations) {
    if constexpr (std::is_same_v<typename WeightGradientTile<index>::Element, T>)
      if (index == configuration) return start<index>(arguments, device);
    start_configuration<T, index + 1>(configuration, arguments, device);
  }
}

}  // namespace

template <class T>
void block_weight_gradient(const BlockWeightGradient<T>& gradient, Precision precision, const Device& device,
                           int configuration) {
  const RowsView<T>&left = gradient.left, &right = gradient.right;
  if (!left.rows || !right.rows) return;
  if (left.width != right.width)
    refuse("right",
           "expected " + std::to_string(left.width) + " samples, as left has, got " + std::to_string(right.width));
  if (!aligned(gradient.out, 16)) refuse("out", "expected an address that is a multiple of 16");
  check_chunks("out", "stride", gradient.out_stride, sizeof(T));
  const WeightGradientArguments<T> arguments{sample_rows("left", left, gradient.units_left, gradient.block_left),
                                             sample_rows("right", right, gradient.units_right, gradient.block_right),
                                             gradient.out, gradient.out_stride, kernel_size(left.width, "left")};
  if (configuration < 0)
    configuration = choose_weight_gradient(arithmetic_for<T>(precision, left.width), device,
                                           {arguments.left.size, arguments.left.block},
                                           {arguments.right.size, arguments.right.block});
  else
    check_configuration(weight_gradient_table, configuration, arithmetic_for<T>(precision, min_tf32x3_width));
  start_configuration(configuration, arguments, device);
}

template void block_weight_gradient(const BlockWeightGradient<float>&, Precision, const Device&, int);
template void block_weight_gradient(const BlockWeightGradient<double>&, Precision, const Device&, int);
template void block_weight_gradient(const BlockWeightGradient<Bfloat16>&, Precision, const Device&, int);

}  // namespace gatentk::cuda
