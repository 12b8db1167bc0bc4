#include "cuda/device/launch.cuh"
#include "cuda/infinite_ntk/infinite_ntk.hpp"
#include "cuda/infinite_ntk/norms.cuh"
#include "cuda/infinite_ntk/passes.hpp"
#include "cuda/infinite_ntk/sweep.cuh"

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

template <class T>
void run_pass(const InfiniteProblem<T>& problem, T* workspace, const Device& device, const Kernel<T>& kernel,
              std::size_t first) {
  T* z_norms = problem.symmetric ? workspace : workspace + 2 * problem.x.rows;
  const PairArguments<T> a = pair_arguments(problem, workspace, z_norms, first);
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
  check_pairs("infinite_ntk", problem, configuration);
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
