#include "tensor_core.hpp"

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "arithmetic.hpp"

namespace gatentk::emulation {

namespace {

constexpr int rows = 16, columns = 8;
constexpr double least_power = 0x1p-126;

std::atomic<bool> adds_all_at_once{false};

double masked(double x, std::uint64_t mask) {
  std::uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits &= mask;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// The power of two that is the unit of x's leading digit; of zero, which takes no part, zero.
double power_of(double x) {
  constexpr std::uint64_t exponent = 0x7ff0000000000000u;
  const double power = masked(x, exponent);
  return x == 0 ? 0 : power < least_power ? least_power : power;
}

// The float next to x on the side of zero.
float cut_off(double x) {
  constexpr std::uint64_t of_float = ~((std::uint64_t{1} << 29) - 1);
  if (std::fabs(x) < least_power) return static_cast<float>(std::trunc(x * 0x1p149) * 0x1p-149);
  return static_cast<float>(masked(x, of_float));
}

// Numbers of a product, with the powers of two that they are aligned by.
template <int height, int width>
struct Aligned {
  Matrix<double, height, width> values, powers;

  // What is not finite becomes zero: every result that it reaches is known.
  explicit Aligned(const Matrix<float, height, width>& x) {
    for (int i = 0; i < height; ++i) {
      for (int j = 0; j < width; ++j) {
        values[i][j] = std::isfinite(x[i][j]) ? x[i][j] : 0;
        powers[i][j] = power_of(values[i][j]);
      }
    }
  }
};

template <int height, int width>
bool are_finite(const Matrix<float, height, width>& x) {
  bool finite = true;
  for (int i = 0; i < height; ++i) {
    for (int j = 0; j < width; ++j) finite &= std::isfinite(x[i][j]);
  }
  return finite;
}

// Adds products first .. first + count - 1 of a row to its sums.
template <int products>
void add_products(const Aligned<rows, products>& a, const Aligned<products, columns>& b, int row, int first, int count,
                  double units, float (&sums)[columns]) {
  double powers[columns], scales[columns], total[columns];
  for (int j = 0; j < columns; ++j) {
    const double power = power_of(sums[j]);
    powers[j] = power < least_power ? least_power : power;
  }
  for (int k = first; k < first + count; ++k) {
    for (int j = 0; j < columns; ++j) {
      const double power = a.powers[row][k] * b.powers[k][j];
      powers[j] = power > powers[j] ? power : powers[j];
    }
  }
  // In units of the last digit that is kept every term is less than 2^27, and conversions cut off.
  for (int j = 0; j < columns; ++j) {
    scales[j] = units / powers[j];
    total[j] = static_cast<int>(sums[j] * scales[j]);
  }
  for (int k = first; k < first + count; ++k) {
    for (int j = 0; j < columns; ++j) total[j] += static_cast<int>(a.values[row][k] * b.values[k][j] * scales[j]);
  }
  for (int j = 0; j < columns; ++j) sums[j] = cut_off(total[j] / scales[j]);
}

template <int products>
void multiply_finite(const Aligned<rows, products>& a, const Aligned<products, columns>& b,
                     Matrix<float, rows, columns>& d) {
  const bool all_at_once = adds_all_at_once;
  const int at_once = all_at_once ? products : products / 2;
  const double units = all_at_once ? 0x1p25 : 0x1p24;
  for (int row = 0; row < rows; ++row) {
    for (int first = 0; first < products; first += at_once) {
      float sums[columns];
      for (int j = 0; j < columns; ++j) sums[j] = std::isfinite(d[row][j]) ? d[row][j] : 0;
      add_products(a, b, row, first, at_once, units, sums);
      // A sum that has become infinite stays it.
      for (int j = 0; j < columns; ++j) d[row][j] = std::isfinite(d[row][j]) ? sums[j] : d[row][j];
    }
  }
}

template <int products>
void multiply(const Matrix<float, rows, products>& a, const Matrix<float, products, columns>& b,
              Matrix<float, rows, columns>& d) {
  const Aligned<rows, products> left(a);
  const Aligned<products, columns> right(b);
  if (are_finite(a) && are_finite(b) && are_finite(d)) return multiply_finite(left, right, d);
  Matrix<float, rows, columns> special;
  for (int row = 0; row < rows; ++row) {
    for (int j = 0; j < columns; ++j) {
      double sum = d[row][j];
      for (int k = 0; k < products; ++k) sum += static_cast<double>(a[row][k]) * b[k][j];
      special[row][j] = std::isnan(sum) ? __uint_as_float(0x7fffffffu) : static_cast<float>(sum);
      if (std::isfinite(sum)) special[row][j] = 0;
    }
  }
  multiply_finite(left, right, d);
  for (int row = 0; row < rows; ++row) {
    for (int j = 0; j < columns; ++j) d[row][j] = special[row][j] == 0 ? d[row][j] : special[row][j];
  }
}

}  // namespace

void multiply_tf32(const Matrix<float, 16, 8>& a, const Matrix<float, 8, 8>& b, Matrix<float, 16, 8>& d) {
  multiply(a, b, d);
}
void multiply_bf16(const Matrix<float, 16, 16>& a, const Matrix<float, 16, 8>& b, Matrix<float, 16, 8>& d) {
  multiply(a, b, d);
}

void set_tensor_cores(int architecture) {
  adds_all_at_once = architecture >= 90;
}

}  // namespace gatentk::emulation
