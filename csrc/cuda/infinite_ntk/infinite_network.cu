#include "cuda/device/launch.cuh"
#include "cuda/infinite_ntk/infinite_network.hpp"
#include "cuda/infinite_ntk/network_samples.cuh"
#include "cuda/infinite_ntk/networks.cuh"
#include "cuda/infinite_ntk/passes.hpp"
#include "cuda/tile/grid.hpp"

namespace gatentk::cuda {

namespace {

template <class T>
struct Kernel {
  void (*start)(NetworkArguments<T>);
  int side, threads, shared_bytes;
};

template <class T, int configuration>
Kernel<T> kernel_with(bool piecewise) {
  constexpr int side = infinite_configurations[configuration].side;
  using L = Layout<T, side>;
  Kernel<T> kernel{piecewise_network<T, side>, side, L::threads, L::shared_bytes};
  if constexpr (sizeof(T) == 8)
    if (!piecewise) kernel.start = smooth_network<T, side>;
  return kernel;
}

template <class T>
Kernel<T> kernel_of(bool piecewise, int configuration) {
  constexpr int first = sizeof(T) == 4 ? 0 : 2;
  return configuration == first ? kernel_with<T, first>(piecewise) : kernel_with<T, first + 1>(piecewise);
}

template <class T>
std::int64_t held_samples(const RowsView<T>& view) {
  return tiles_of(view.rows, samples_per_block) * samples_per_block;
}

// What is kept of the samples of one side: slices, norms, inverse norms.
template <class T>
struct Side {
  const RowsView<T>& view;
  LayerTable<T> table;
  T* norms;
};

template <class T>
std::int64_t side_size(const RowsView<T>& view, std::int64_t slices) {
  return (slices * network_fields + 2) * held_samples(view);
}

template <class T>
Side<T> side_at(T* workspace, const RowsView<T>& view, std::int64_t slices) {
  const std::int64_t held = held_samples(view);
  return {view, {slices ? workspace : nullptr, held}, workspace + slices * network_fields * held};
}

template <class T>
void prepare(const InfiniteProblem<T>& problem, const Side<T>& side, const PairArguments<T>& pairs, bool diagonal,
             const Device& device) {
  SampleArguments<T> a{};
  a.data = side.view.data;
  a.stride = side.view.stride;
  a.width = side.view.width;
  a.rows = static_cast<int>(side.view.rows);
  a.norm = side.norms;
  a.inverse = side.norms + side.view.rows;
  a.table = side.table;
  a.out = diagonal ? pairs.out : nullptr;
  a.out_slice = problem.out_slice;
  a.out_stride = problem.out_stride;
  a.walk = walk_of(problem);
  a.walk.last = pairs.depths.depth[pairs.depths.count - 1];
  a.depths = pairs.depths;
  const auto blocks = static_cast<unsigned>(side.table.held / samples_per_block);
  const Grid grid{dim3(blocks), network_sample_threads, network_sample_bytes, device.stream};
  launch(network_samples<T>, "infinite_network samples", grid, a);
}

template <class T>
void run_pass(const InfiniteProblem<T>& problem, const Side<T>& x, const Side<T>& z, const Device& device,
              const Kernel<T>& kernel, std::size_t first) {
  const Network& network = problem.network;
  NetworkArguments<T> a{};
  a.pairs = pair_arguments(problem, x.norms, z.norms, first);
  a.rows = x.table;
  a.columns = z.table;
  a.quantity = problem.quantity;
  a.bend = static_cast<T>(network.bend());
  a.keep = is_nngp(problem.quantity) ? T(0) : T(1);
  a.first = network.first;
  a.gain = network.gain();
  prepare(problem, x, a.pairs, problem.symmetric, device);
  if (!problem.symmetric) prepare(problem, z, a.pairs, false, device);
  const std::int64_t blocks = square_tiles(problem.x.rows, problem.z.rows, problem.symmetric, kernel.side);
  const Grid grid{dim3(static_cast<unsigned>(blocks)), kernel.threads, kernel.shared_bytes, device.stream};
  launch(kernel.start, "infinite_network", grid, a);
}

}  // namespace

template <class T>
std::int64_t infinite_network_workspace(const InfiniteProblem<T>& problem) {
  if (problem.depths.empty()) return 0;
  const std::int64_t slices = walk_of(problem).slices();
  return side_size(problem.x, slices) + (problem.symmetric ? 0 : side_size(problem.z, slices));
}

template <class T>
void infinite_network(const InfiniteProblem<T>& problem, T* workspace, const Device& device, int configuration) {
  if (!problem.x.rows || !problem.z.rows || problem.depths.empty()) return;
  const bool piecewise = is_piecewise_linear(problem.quantity);
  if (configuration < 0)
    configuration = choose_infinite_ntk(device, sizeof(T), problem.x.rows, problem.z.rows, problem.symmetric);
  check_pairs("infinite_network", problem, configuration);
  if (sizeof(T) == 4 && !piecewise) refuse("infinite_network", "expected doubles for erf and GELU");
  if (!aligned(workspace, 16)) refuse("infinite_network", "expected a workspace at a multiple of 16 bytes");
  const Kernel<T> kernel = kernel_of<T>(piecewise, configuration);
  check_shared_bytes("infinite_network", kernel.shared_bytes, device);
  const std::int64_t slices = walk_of(problem).slices();
  const Side<T> x = side_at(workspace, problem.x, slices);
  T* const behind = workspace + side_size(problem.x, slices);
  const Side<T> z = problem.symmetric ? x : side_at(behind, problem.z, slices);
  for (std::size_t first = 0; first < problem.depths.size(); first += max_depths)
    run_pass(problem, x, z, device, kernel, first);
}

template std::int64_t infinite_network_workspace(const InfiniteProblem<float>&);
template std::int64_t infinite_network_workspace(const InfiniteProblem<double>&);
template void infinite_network(const InfiniteProblem<float>&, float*, const Device&, int);
template void infinite_network(const InfiniteProblem<double>&, double*, const Device&, int);

}  // namespace gatentk::cuda
