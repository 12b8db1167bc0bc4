// Blocks of the kernels that mask values, and the accesses that rows allow.
#pragma once

#include "cuda/tile/operand.hpp"
#include "gatentk/blocks.hpp"

namespace gatentk::cuda {

constexpr int gate_rows_threads = 256;
// Accesses of a thread. All are under way before the first one is stored, for values may be masked in place.
constexpr int gate_rows_accesses = 4;

// Elements that one access moves: 16 bytes where every row is a whole number of them, otherwise one.
template <class T>
int gate_rows_elements(const GateRowsProblem<T>& problem) {
  constexpr int whole = 16 / sizeof(T);
  const bool chunks = aligned(problem.values, 16) && aligned(problem.out, 16) && problem.width % whole == 0 &&
                      problem.values_stride % whole == 0 && problem.out_stride % whole == 0;
  return chunks ? whole : 1;
}

}  // namespace gatentk::cuda
