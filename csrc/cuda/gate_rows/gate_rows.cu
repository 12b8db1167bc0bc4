#include <algorithm>
#include <limits>
#include <stdexcept>

#include "cuda/device/launch.cuh"
#include "cuda/gate_rows/gate_rows.hpp"
#include "cuda/gate_rows/kernel.cuh"
#include "cuda/tile/grid.hpp"

namespace gatentk::cuda {

namespace {

template <int elements, class T>
void start(const GateRowsProblem<T>& problem, const Device& device) {
  constexpr int bytes = sizeof(T);
  using Value = typename StoredValue<bytes>::Type;
  const auto chunks = static_cast<unsigned>(kernel_size(problem.width, "gate_rows") / elements);
  const GateRowsArguments<bytes> a{reinterpret_cast<const Value*>(problem.values),
                                   problem.values_stride,
                                   reinterpret_cast<const unsigned*>(problem.gates.bits),
                                   problem.gates.stride / 4,
                                   reinterpret_cast<Value*>(problem.out),
                                   problem.out_stride,
                                   problem.rows,
                                   chunks,
                                   gate_rows_threads / chunks,
                                   gate_rows_threads % chunks,
                                   static_cast<unsigned>(std::min(problem.block, problem.width))};
  const std::int64_t blocks = tiles_of(a.rows * a.chunks, gate_rows_threads * gate_rows_accesses);
  if (blocks > std::numeric_limits<int>::max()) throw std::invalid_argument("gate_rows: too many values");
  const Grid grid{dim3(static_cast<unsigned>(blocks)), gate_rows_threads, 0, device.stream};
  launch(gate_rows_kernel<bytes, elements>, "gate_rows", grid, a);
}

}  // namespace

template <class T>
void gate_rows(const GateRowsProblem<T>& problem, const Device& device) {
  if (!problem.rows || !problem.width) return;
  if (!aligned(problem.gates.bits, 4) || problem.gates.stride % 4)
    throw std::invalid_argument("gate_rows: expected rows of gates at multiples of 4 bytes");
  constexpr int whole = 16 / sizeof(T);
  if (gate_rows_elements(problem) == whole)
    start<whole>(problem, device);
  else
    start<1>(problem, device);
}

template void gate_rows(const GateRowsProblem<float>&, const Device&);
template void gate_rows(const GateRowsProblem<double>&, const Device&);
template void gate_rows(const GateRowsProblem<Bfloat16>&, const Device&);

}  // namespace gatentk::cuda
