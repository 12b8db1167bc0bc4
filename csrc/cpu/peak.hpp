// The machine's measured FMA peak, the yardstick of the benchmarks.
#pragma once

namespace gatentk::cpu {

// Floating-point operations per second of `threads` threads that do nothing but fused multiply-adds of the active
// instruction set; best of several short runs.
template <class T>
double measure_fma_peak(int threads);

}  // namespace gatentk::cpu
