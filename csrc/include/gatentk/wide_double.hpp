// Numbers of twice the digits of double, for what is asked of each sample alone.
//
// Their sums need the rounding of each operation: what includes this for a CPU is compiled without contraction.
#pragma once

#include <cmath>

// Before functions that device code calls as well.
#ifdef __CUDACC__
#define GATENTK_EVERYWHERE __host__ __device__
#else
#define GATENTK_EVERYWHERE
#endif

namespace gatentk {

// high + low, low below an ulp of high (Dekker 1971).
struct WideDouble {
  double high, low;
};

// a b rounded, which no sum that follows takes in unrounded.
GATENTK_EVERYWHERE inline double rounded_product(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

GATENTK_EVERYWHERE inline WideDouble sum_of(double a, double b) {
  const double sum = a + b, part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

// Where |a| >= |b|.
GATENTK_EVERYWHERE inline WideDouble ordered_sum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

GATENTK_EVERYWHERE inline WideDouble product_of(double a, double b) {
  const double product = rounded_product(a, b);
  return {product, std::fma(a, b, -product)};
}

GATENTK_EVERYWHERE inline WideDouble plus(WideDouble a, double b) {
  const WideDouble sum = sum_of(a.high, b);
  return ordered_sum(sum.high, sum.low + a.low);
}

GATENTK_EVERYWHERE inline WideDouble plus(WideDouble a, WideDouble b) {
  const WideDouble sum = sum_of(a.high, b.high);
  return ordered_sum(sum.high, sum.low + (a.low + b.low));
}

GATENTK_EVERYWHERE inline WideDouble times(WideDouble a, double b) {
  const WideDouble product = product_of(a.high, b);
  return ordered_sum(product.high, product.low + a.low * b);
}

GATENTK_EVERYWHERE inline WideDouble root_of(WideDouble a) {
  if (a.high <= 0) return {0, 0};
  const double root = std::sqrt(a.high);
  return ordered_sum(root, (std::fma(-root, root, a.high) + a.low) / (2 * root));
}

GATENTK_EVERYWHERE inline WideDouble quotient(double a, WideDouble b) {
  const double first = a / b.high;
  return ordered_sum(first, (std::fma(-first, b.high, a) - first * b.low) / b.high);
}

// a + b^2, where what rounds off is added to low as it comes: a sum of squares, to be brought in order at its end.
GATENTK_EVERYWHERE inline WideDouble add_square(WideDouble a, double b) {
  const WideDouble square = product_of(b, b), next = sum_of(a.high, square.high);
  return {next.high, a.low + (next.low + square.low)};
}

}  // namespace gatentk
