#include "cpu/few_rows.hpp"

#include <algorithm>

#include "cpu/kernel_table.hpp"
#include "cpu/packed.hpp"
#include "cpu/parallel.hpp"
#include "cpu/workspace.hpp"

namespace gatentk::cpu {

namespace {

// Columns of a task, a whole number of vectors: its sums stay in L1 while rows come by.
constexpr std::int64_t stripe_bytes = 8192;

// Rows that are summed on their own before they are added to the rest: shorter chains of roundings.
constexpr std::int64_t chain_rows = 64;

// Results from this size on leave the cache before anybody reads them.
constexpr std::int64_t streamed_bytes = std::int64_t{16} << 20;

// Bytes of a result that a task writes.
constexpr std::int64_t task_bytes = std::int64_t{256} << 10;

// out = or += rows first..first + count, where `extent` columns from `column` on go to out[0..extent).
template <class T>
void add_chain(const ProductKernels<T>& kernel, const WeightedRows<T>& weighted, std::int64_t first, std::int64_t count,
               std::int64_t column, std::int64_t extent, T* out) {
  for (std::int64_t i = 0; i < count; i += most_combined) {
    const auto some = static_cast<int>(std::min<std::int64_t>(most_combined, count - i));
    const T* rows[most_combined];
    for (int r = 0; r < some; ++r) rows[r] = weighted.rows[static_cast<std::size_t>(first + i + r)] + column;
    kernel.combine_rows(rows, weighted.factors.data() + first + i, some, extent, out, i > 0);
  }
}

}  // namespace

template <class T>
void sum_rows(const WeightedRows<T>& weighted, const std::vector<Segment>& segments, const std::uint8_t* bits,
              std::int64_t columns, T* out, int threads) {
  constexpr std::int64_t stripe = stripe_bytes / static_cast<std::int64_t>(sizeof(T));
  const ProductKernels<T>& kernel = product_kernels<T>(kernels());
  const auto count = static_cast<std::int64_t>(weighted.rows.size());
  parallel_for(ceil_div(columns, stripe), threads, [&](std::int64_t task, int) {
    const std::int64_t begin = task * stripe, end = std::min(columns, begin + stripe);
    alignas(64) T chain[stripe];
    std::fill(out + begin, out + end, T(0));
    for (std::int64_t first = 0; first < count; first += chain_rows)
      for (const Segment& segment : segments) {
        const std::int64_t from = std::max(begin, segment.first), to = std::min(end, segment.first + segment.count);
        if (from >= to) continue;
        add_chain(kernel, weighted, first, std::min(chain_rows, count - first), from, to - from, chain);
        const T* const sums = chain;
        const T one = 1;
        kernel.combine_rows(&sums, &one, 1, to - from, out + from, true);
      }
    if (bits) kernel.write_row(out + begin, end - begin, bits, begin, out);
  });
}

template <class T>
void add_outer_products(OuterProducts<T> problem, int threads) {
  const ProductKernels<T>& kernel = product_kernels<T>(kernels());
  const std::int64_t size = sizeof(T), vector = kernels().vector_bytes;
  const bool aligned = reinterpret_cast<std::uintptr_t>(problem.out) % static_cast<std::uintptr_t>(vector) == 0 &&
                       problem.out_stride * size % vector == 0;
  problem.streamed = aligned && problem.rows * problem.columns * size >= streamed_bytes;
  advise_huge_pages(problem.out, static_cast<std::size_t>(problem.rows * problem.out_stride * size));
  const std::int64_t step = 4 * (1 + task_bytes / (4 * size * (problem.columns + 1)));
  parallel_for(ceil_div(problem.rows, step), threads, [&](std::int64_t task, int) {
    OuterProducts<T> part = problem;
    part.left += task * step;
    part.out += task * step * problem.out_stride;
    part.rows = std::min(step, problem.rows - task * step);
    kernel.outer_products(part);
  });
}

template void sum_rows(const WeightedRows<float>&, const std::vector<Segment>&, const std::uint8_t*, std::int64_t,
                       float*, int);
template void sum_rows(const WeightedRows<double>&, const std::vector<Segment>&, const std::uint8_t*, std::int64_t,
                       double*, int);
template void add_outer_products(OuterProducts<float>, int);
template void add_outer_products(OuterProducts<double>, int);

}  // namespace gatentk::cpu
