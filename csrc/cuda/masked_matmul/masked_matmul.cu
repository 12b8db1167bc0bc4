#include <type_traits>

#include "cuda/device/launch.cuh"
#include "cuda/masked_matmul/kernel.cuh"
#include "cuda/masked_matmul/masked_matmul.hpp"
#include "cuda/tile/operand.hpp"

namespace gatentk::cuda {

namespace {

template <int configuration>
void start(const MaskedArguments<typename MaskedTile<configuration>::Element>& arguments, const Device& device) {
  constexpr const TileConfiguration& tile = masked_matmul_table[configuration];
  check_shared_bytes("masked_matmul", masked_matmul_shared_bytes(tile), device);
  const int down = (arguments.left.rows + tile.rows - 1) / tile.rows;
  const int across = (arguments.right.rows + tile.columns - 1) / tile.columns;
  const Grid grid{dim3(static_cast<unsigned>(down) * static_cast<unsigned>(across)), tile.threads(),
                  masked_matmul_shared_bytes(tile), device.stream};
  launch(masked_matmul_kernel<configuration>, "masked_matmul", grid, arguments, down, across);
}

// Starts the kernel of `configuration`, one of those of T.
template <class T, int index = 0>
void start_configuration(int configuration, const MaskedArguments<T>& arguments, const Device& device) {
  if constexpr (index < masked_matmul_configurations) {
    if constexpr (std::is_same_v<typename MaskedTile<index>::Element, T>)
      if (index == configuration) return start<index>(arguments, device);
    start_configuration<T, index + 1>(configuration, arguments, device);
  }
}

template <class T>
Arithmetic arithmetic_for(Precision precision, std::int64_t width) {
  if (std::is_same_v<T, double>) return Arithmetic::f64;
  return sizeof(T) == 2 ? Arithmetic::bf16 : arithmetic_of(precision, width);
}

}  // namespace

template <class T>
void masked_matmul(const MaskedProduct<T>& product, Precision precision, const Device& device, int configuration) {
  const RowsView<T>&left = product.left, &columns = product.columns;
  if (!left.rows || !columns.rows) return;
  if (configuration < 0)
    configuration = choose_masked_matmul(arithmetic_for<T>(precision, left.width), device, left.rows, columns.rows);
  else
    check_configuration(masked_matmul_table, configuration, arithmetic_for<T>(precision, min_tf32x3_width));
  const bool pairs = product.out_stride % 2 == 0 && aligned(product.out, 2 * sizeof(T));
  const MaskedArguments<T> arguments{operand(left),      operand(columns),     product.out, product.out_stride,
                                     product.gates.bits, product.gates.stride, pairs};
  start_configuration(configuration, arguments, device);
}

template void masked_matmul(const MaskedProduct<float>&, Precision, const Device&, int);
template void masked_matmul(const MaskedProduct<double>&, Precision, const Device&, int);
template void masked_matmul(const MaskedProduct<Bfloat16>&, Precision, const Device&, int);

}  // namespace gatentk::cuda
