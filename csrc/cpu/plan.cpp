#include "cpu/plan.hpp"

#include <algorithm>

#include "cpu/packed.hpp"
#include "cpu/parallel.hpp"

namespace gatentk::cpu {

void build_plan(const GateView& gates, bool transposed, std::int64_t rows, std::int64_t columns, PlanBlock* plan,
                int threads) {
  if (!rows || !columns) return;
  const PlanKernels& kernel = kernels().plan;
  const std::int64_t blocks = ceil_div(columns, block_columns);
  const std::int64_t groups = ceil_div(rows, group_rows);
  parallel_for(ceil_div(groups, chunk_groups), threads, [&](std::int64_t chunk, int) {
    const std::int64_t group = chunk * chunk_groups;
    for (std::int64_t b = 0; b < blocks; ++b)
      kernel.plan_chunk(gates, transposed, rows, group * group_rows,
                        std::min<std::int64_t>(chunk_groups, groups - group), b * block_columns,
                        std::min<std::int64_t>(block_columns, columns - b * block_columns), plan + group * blocks + b,
                        blocks);
  });
}

}  // namespace gatentk::cpu
