#include <algorithm>
#include <cstring>

#include "cpu/block_tiles.hpp"
#include "cpu/blocks.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/parallel.hpp"

namespace gatentk::cpu {

namespace {

// Values that a task takes: enough to outweigh handing it out.
constexpr std::int64_t task_values = 32768;

template <class T>
void gate_row(const GateRowsProblem<T>& problem, std::int64_t i) {
  const T* from = problem.values + i * problem.values_stride;
  const std::uint8_t* bits = problem.gates.bits + i * problem.gates.stride;
  T* to = problem.out + i * problem.out_stride;
  if (problem.block == 1) return product_kernels<T>(kernels()).write_row(from, problem.width, bits, 0, to);
  for (std::int64_t first = 0, u = 0; first < problem.width; first += problem.block, ++u) {
    const std::int64_t extent = std::min(problem.block, problem.width - first);
    if (!(bits[u / 8] >> (u % 8) & 1))
      std::fill(to + first, to + first + extent, T(0));
    else if (from != to)
      std::copy(from + first, from + first + extent, to + first);
  }
}

}  // namespace

template <class T>
void gate_rows(const GateRowsProblem<T>& problem, int threads) {
  const std::int64_t step = 1 + task_values / (problem.width + 1);
  parallel_for(ceil_div(problem.rows, step), threads, [&](std::int64_t task, int) {
    for (std::int64_t i = task * step; i < std::min(problem.rows, (task + 1) * step); ++i) gate_row(problem, i);
  });
}

template <class T>
void copy_blocks(const BlockView<const T>& from, const BlockView<T>& to, int threads) {
  // Units and rows that are taken at once: lines and pages of both layouts are used while they are at hand.
  constexpr std::int64_t span = 64;
  const std::int64_t units = to.units(), band = std::max<std::int64_t>(1, 512 / to.block);
  const std::int64_t spans = ceil_div(to.rows, span);
  parallel_for(ceil_div(units, band) * spans, threads, [&](std::int64_t task, int) {
    const std::int64_t unit0 = task / spans * band, row0 = task % spans * span;
    for (std::int64_t u = unit0; u < std::min(unit0 + band, units); ++u) {
      const std::int64_t extent = std::min(to.block, to.width - u * to.block);
      for (std::int64_t i = row0; i < std::min(row0 + span, to.rows); ++i) {
        const T* source = from.data + u * from.unit_stride + i * from.row_stride;
        T* target = to.data + u * to.unit_stride + i * to.row_stride;
        if (is_on(to.unit_major, u, i))
          std::copy(source, source + extent, target);
        else
          std::fill(target, target + extent, T(0));
        if (to.padded) std::fill(target + extent, target + to.block, T(0));
      }
    }
  });
}

template void copy_blocks(const BlockView<const float>&, const BlockView<float>&, int);
template void copy_blocks(const BlockView<const double>&, const BlockView<double>&, int);
template void gate_rows(const GateRowsProblem<float>&, int);
template void gate_rows(const GateRowsProblem<double>&, int);

}  // namespace gatentk::cpu
