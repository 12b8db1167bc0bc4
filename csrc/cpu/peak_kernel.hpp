// The arithmetic ceiling of this processor: independent fused multiply-adds and nothing else.
#pragma once

#include <cstdint>

#include "cpu/simd.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// Runs `rounds` rounds of fma_chains multiply-adds and returns the number of floating-point operations.
template <class T>
static double multiply_adds(std::int64_t rounds) {
  constexpr int chains = 12;
  Vector<T> sum[chains];
  Vector<T> factor = broadcast(T(0.999));
  for (int c = 0; c < chains; ++c) sum[c] = broadcast(T(c));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) sum[c] = sum[c] * factor + factor;
    keep_order(factor);
  }
  for (int c = 1; c < chains; ++c) sum[0] += sum[c];
  volatile T sink = horizontal_sum<T>(sum[0]);
  (void)sink;
  return 2.0 * chains * Simd<T>::lanes * static_cast<double>(rounds);
}

}  // namespace gatentk::cpu::GATENTK_ISA
