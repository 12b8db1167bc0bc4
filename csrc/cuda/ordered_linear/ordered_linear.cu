#include "cuda/device/launch.cuh"
#include "cuda/ordered_linear/kernel.cuh"
#include "cuda/ordered_linear/ordered_linear.hpp"
#include "cuda/tile/operand.hpp"

namespace gatentk::cuda {

template <class T>
void ordered_linear(const OrderedProduct<T>& product, const Device& device) {
  if (!product.x.rows || !product.weight.rows) return;
  check_shared_bytes("ordered_linear", ordered_shared_bytes, device);
  using Tile = OrderedTile<T>;
  const OrderedArguments<T> arguments{operand(product.x), operand(product.weight), product.relu, product.out,
                                      product.out_stride};
  const int down = (arguments.x.rows + Tile::rows - 1) / Tile::rows;
  const int across = (arguments.weight.rows + Tile::columns - 1) / Tile::columns;
  const Grid grid{dim3(static_cast<unsigned>(down) * static_cast<unsigned>(across)), Tile::threads,
                  ordered_shared_bytes, device.stream};
  launch(ordered_linear_kernel<T>, "ordered_linear", grid, arguments, down, across);
}

template void ordered_linear(const OrderedProduct<float>&, const Device&);
template void ordered_linear(const OrderedProduct<double>&, const Device&);

}  // namespace gatentk::cuda
