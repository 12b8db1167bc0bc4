#include "cpu/peak.hpp"

#include <algorithm>
#include <chrono>

#include "cpu/kernel_table.hpp"
#include "cpu/parallel.hpp"

namespace gatentk::cpu {

namespace {

template <class T>
double (*multiply_adds())(std::int64_t);
template <>
double (*multiply_adds<float>())(std::int64_t) {
  return kernels().multiply_adds_f32;
}
template <>
double (*multiply_adds<double>())(std::int64_t) {
  return kernels().multiply_adds_f64;
}

}  // namespace

template <class T>
double measure_fma_peak(int threads) {
  constexpr std::int64_t rounds = 1 << 20;
  const auto run = multiply_adds<T>();
  double best = 0;
  for (int repeat = 0; repeat < 7; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    double operations = 0;
    parallel_for(threads, threads, [&](std::int64_t index, int) {
      const double done = run(rounds);
      if (index == 0) operations = done * threads;
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, operations / seconds.count());
  }
  return best;
}

template double measure_fma_peak<float>(int);
template double measure_fma_peak<double>(int);

}  // namespace gatentk::cpu
