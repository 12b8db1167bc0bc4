#include <limits>
#include <stdexcept>

#include "cuda/device/launch.cuh"
#include "cuda/gate_gram/gate_gram.hpp"
#include "cuda/gate_gram/kernel.cuh"
#include "cuda/tile/grid.hpp"

namespace gatentk::cuda {

namespace {

bool in_groups(const GateView& gates) {
  return reinterpret_cast<std::uintptr_t>(gates.bits) % 16 == 0 && gates.stride % 16 == 0;
}

void check(const GateGram& problem, int configuration) {
  constexpr std::int64_t largest = std::numeric_limits<int>::max() - 128;
  if (problem.row_bytes % 16 || (problem.row_bytes && !(in_groups(problem.rows) && in_groups(problem.columns))))
    throw std::invalid_argument("gate_gram: expected rows of bits in whole, aligned groups of 16 bytes");
  if (problem.row_count > largest || problem.column_count > largest || problem.row_bytes > largest)
    throw std::invalid_argument("gate_gram: expected fewer than 2^31 rows and bytes in a row");
  if (configuration < 0 || configuration >= static_cast<int>(std::size(gate_gram_configurations)))
    throw std::invalid_argument("gate_gram: no such configuration");
}

template <int configuration>
void run(const GateGramArguments& a, const Device& device) {
  constexpr GateGramConfiguration tile = gate_gram_configurations[configuration];
  using L = ConfiguredGateGram<configuration>;
  check_shared_bytes("gate_gram", L::shared_bytes, device);
  const std::int64_t blocks = square_tiles(a.row_count, a.column_count, a.symmetric, tile.side);
  const Grid grid{dim3(static_cast<unsigned>(blocks)), L::threads, L::shared_bytes, device.stream};
  launch(gate_gram_tile<tile.side, tile.tensor>, "gate_gram", grid, a);
}

}  // namespace

void gate_gram(const GateGram& problem, const Device& device, int configuration) {
  if (!problem.row_count || !problem.column_count) return;
  if (configuration < 0)
    configuration = choose_gate_gram(device, problem.row_count, problem.column_count, problem.symmetric);
  check(problem, configuration);
  const GateGramArguments a{problem.rows,
                            problem.columns,
                            static_cast<int>(problem.row_count),
                            static_cast<int>(problem.column_count),
                            problem.row_bytes,
                            problem.symmetric,
                            problem.out};
  switch (configuration) {
    case 0:
      return run<0>(a, device);
    case 1:
      return run<1>(a, device);
    case 2:
      return run<2>(a, device);
    case 3:
      return run<3>(a, device);
  }
}

}  // namespace gatentk::cuda
