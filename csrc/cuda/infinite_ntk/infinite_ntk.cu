#include <algorithm>
#include <limits>
#include <stdexcept>

#include "cuda/device/launch.cuh"
#include "cuda/infinite_ntk/infinite_ntk.hpp"
#include "cuda/infinite_ntk/norms.cuh"
#include "cuda/infinite_ntk/sweep.cuh"
#include "cuda/tile/grid.hpp"
#include "cuda/tile/operand.hpp"

namespace gatentk::cuda {

namespace {

template <class T>
struct Kernel {
  void (*start)(PairArguments<T>, Quantity);
  int side, threads, shared_bytes;
};

template <class T, int configuration>
Kernel<T> kernel_with(Quantity quantity) {
  constexpr int side = infinite_configurations[configuration].side;
  return {by_layer(quantity) ? infinite_components<T, side> : infinite_sweep<T, side>, side, Layout<T, side>::threads,
          Layout<T, side>::shared_bytes};
}

template <class T>
Kernel<T> kernel_of(Quantity quantity, int configuration) {
  constexpr int first = sizeof(T) == 4 ? 0 : 2;
  return configuration == first ? kernel_with<T, first>(quantity) : kernel_with<T, first + 1>(quantity);
}

template <class T>
void check(const InfiniteProblem<T>& problem, int configuration) {
  constexpr std::int64_t largest = std::numeric_limits<int>::max() - 64;
  for (const RowsView<T>* view : {&problem.x, &problem.z}) {
    if (view->transposed || view->gates.bits)
      throw std::invalid_argument("infinite_ntk: expected samples in rows, without gates");
    if (view->rows > largest || view->width > largest)
      throw std::invalid_argument("infinite_ntk: expected fewer than 2^31 samples and features");
  }
  if (problem.depths.back() > largest) throw std::invalid_argument("infinite_ntk: expected a depth below 2^31");
  if (configuration < 0 || configuration >= static_cast<int>(std::size(infinite_configurations)) ||
      infinite_configurations[configuration].element_bytes != static_cast<int>(sizeof(T)))
    throw std::invalid_argument("infinite_ntk: no such configuration for this type");
}

template <class T>
Samples<T> samples_of(const RowsView<T>& view, const T* norms) {
  return {view.data, view.stride, static_cast<int>(view.rows), norms, norms + view.rows};
}

// Norms of `view` into `norms` (2 rows elements) and, with `out`, the diagonals.
template <class T>
void compute_norms(const InfiniteProblem<T>& problem, const RowsView<T>& view, T* norms, T* out, const Depths& depths,
                   const Device& device) {
  NormArguments<T> a{};
  a.data = view.data;
  a.stride = view.stride;
  a.width = view.width;
  a.rows = static_cast<int>(view.rows);
  a.norm = norms;
  a.inverse = norms + view.rows;
  a.out = out;
  a.out_slice = problem.out_slice;
  a.out_stride = problem.out_stride;
  a.quantity = problem.quantity;
  a.outputs = by_layer(problem.quantity) ? depths.depth[0] + 1 : depths.count;
  a.depths = depths;
  const Grid grid{dim3(static_cast<unsigned>(tiles_of(view.rows, norm_threads / 32))), norm_threads, 0, device.stream};
  launch(sample_norms<T>, "infinite_ntk norms", grid, a);
}

// The depths from `first` on that fit into one pass.
Depths depths_from(const std::vector<std::int64_t>& depths, std::size_t first) {
  Depths result{};
  result.count = static_cast<int>(std::min<std::size_t>(max_depths, depths.size() - first));
  for (int i = 0; i < result.count; ++i) result.depth[i] = static_cast<int>(depths[first + i]);
  return result;
}

template <class T>
void run_pass(const InfiniteProblem<T>& problem, T* workspace, const Device& device, const Kernel<T>& kernel,
              std::size_t first) {
  PairArguments<T> a{};
  a.depths = depths_from(problem.depths, first);
  a.out = problem.out + static_cast<std::int64_t>(first) * problem.out_slice;
  a.out_slice = problem.out_slice;
  a.out_stride = problem.out_stride;
  a.width = static_cast<int>(problem.x.width);
  a.symmetric = problem.symmetric;
  a.wide = rows_aligned(problem.x) && rows_aligned(problem.z);
  T* z_norms = problem.symmetric ? workspace : workspace + 2 * problem.x.rows;
  a.x = samples_of(problem.x, workspace);
  a.z = samples_of(problem.z, z_norms);
  compute_norms(problem, problem.x, workspace, problem.symmetric ? a.out : nullptr, a.depths, device);
  if (!problem.symmetric) compute_norms<T>(problem, problem.z, z_norms, nullptr, a.depths, device);
  const std::int64_t blocks = square_tiles(problem.x.rows, problem.z.rows, problem.symmetric, kernel.side);
  const Grid grid{dim3(static_cast<unsigned>(blocks)), kernel.threads, kernel.shared_bytes, device.stream};
  launch(kernel.start, "infinite_ntk", grid, a, problem.quantity);
}

}  // namespace

template <class T>
std::int64_t infinite_workspace(const InfiniteProblem<T>& problem) {
  return 2 * (problem.x.rows + (problem.symmetric ? 0 : problem.z.rows));
}

template <class T>
void infinite_ntk(const InfiniteProblem<T>& problem, T* workspace, const Device& device, int configuration) {
  if (!problem.x.rows || !problem.z.rows || problem.depths.empty()) return;
  if (configuration < 0)
    configuration = choose_infinite_ntk(device, sizeof(T), problem.x.rows, problem.z.rows, problem.symmetric);
  check(problem, configuration);
  const Kernel<T> kernel = kernel_of<T>(problem.quantity, configuration);
  check_shared_bytes("infinite_ntk", kernel.shared_bytes, device);
  for (std::size_t first = 0; first < problem.depths.size(); first += max_depths)
    run_pass(problem, workspace, device, kernel, first);
}

template std::int64_t infinite_workspace(const InfiniteProblem<float>&);
template std::int64_t infinite_workspace(const InfiniteProblem<double>&);
template void infinite_ntk(const InfiniteProblem<float>&, float*, const Device&, int);
template void infinite_ntk(const InfiniteProblem<double>&, double*, const Device&, int);

}  // namespace gatentk::cuda
