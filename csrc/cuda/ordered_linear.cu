#include "launch.cuh"
#include "masked_matmul.hpp"
#include "operand.hpp"
#include "ordered_linear.cuh"

namespace gatentk::cuda {

template <class T>
void ordered_linear(const RowsView<T>& x, const RowsView<T>& weight, bool relu, T* out, std::int64_t out_stride,
                    const Device& device) {
  if (!x.rows || !weight.rows) return;
  using Tile = OrderedTile<T>;
  const OrderedArguments<T> arguments{operand(x), operand(weight), relu, out, out_stride};
  const int down = (arguments.x.rows + Tile::rows - 1) / Tile::rows;
  const int across = (arguments.weight.rows + Tile::columns - 1) / Tile::columns;
  launch(ordered_linear_kernel<T>, "ordered_linear",
         {dim3(static_cast<unsigned>(down) * static_cast<unsigned>(across)), Tile::threads, ordered_shared_bytes,
          device.stream},
         arguments, down, across);
}

template void ordered_linear(const RowsView<float>&, const RowsView<float>&, bool, float*, std::int64_t, const Device&);
template void ordered_linear(const RowsView<double>&, const RowsView<double>&, bool, double*, std::int64_t,
                             const Device&);

}  // namespace gatentk::cuda
