// Products whose left factor is masked, on the CPU.
#pragma once

#include "cpu/plan.hpp"
#include "gatentk/masked_matmul.hpp"

namespace gatentk::cpu {

// `plan`: [groups][blocks], what build_plan makes of the gates of the left factor, or null: made on the way. The result
// does not depend on the number of threads.
template <class T>
void masked_matmul(const MaskedProduct<T>& product, const PlanBlock* plan, int threads);

}  // namespace gatentk::cpu
