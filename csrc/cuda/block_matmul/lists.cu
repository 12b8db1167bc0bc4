#include "cuda/block_matmul/block_matmul.hpp"
#include "cuda/block_matmul/lists.cuh"
#include "cuda/device/launch.cuh"
#include "cuda/tile/grid.hpp"
#include "cuda/tile/operand.hpp"

namespace gatentk::cuda {

void block_lists(const BlockLists& problem, const Device& device) {
  if (!problem.units) return;
  if (!aligned(problem.gates.bits, 4) || problem.gates.stride % 4)
    throw std::invalid_argument("gates: expected rows of bits at multiples of 4 bytes");
  // A unit without samples still has a count.
  const std::int64_t pieces = problem.n ? tiles_of(problem.n, 32 * list_words) : 1;
  const int blocks = kernel_size(problem.units * pieces, "units");
  const ListArguments arguments{reinterpret_cast<const unsigned*>(problem.gates.bits), problem.gates.stride / 4,
                                kernel_size(problem.n, "n"), static_cast<int>(pieces), problem.lists};
  launch(block_lists_kernel, "block_lists",
         {dim3(static_cast<unsigned>(blocks)), list_threads, list_shared_bytes, device.stream}, arguments);
}

}  // namespace gatentk::cuda
