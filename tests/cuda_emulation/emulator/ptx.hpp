// The emulated twins of ptx.cuh.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "collectives.hpp"
#include "shared.hpp"
#include "tensor_core.hpp"

namespace gatentk::emulation {

inline float tf32(unsigned bits) {
  return __uint_as_float(bits & 0xffffe000u);
}
inline float bfloat(unsigned pair, int half) {
  return __uint_as_float(half == 0 ? pair << 16 : pair & 0xffff0000u);
}

template <class Result, class Operand>
struct Product {
  Result* d;
  const Operand *a, *b;
};
template <class Result, class Operand>
Product<Result, Operand>& product_of(void* contribution) {
  return *static_cast<Product<Result, Operand>*>(contribution);
}

// The accumulators of all lanes, while `multiply` works on them as a matrix.
template <class Multiply>
void with_accumulators(Contributions lanes, Multiply multiply) {
  Matrix<float, 16, 8> d;
  const auto at = [&](int lane, int e) -> float& { return d[lane / 4 + 8 * (e / 2)][2 * (lane % 4) + e % 2]; };
  for (int lane = 0; lane < 32; ++lane) {
    for (int e = 0; e < 4; ++e) at(lane, e) = product_of<float, unsigned>(lanes[lane]).d[e];
  }
  multiply(d);
  for (int lane = 0; lane < 32; ++lane) {
    for (int e = 0; e < 4; ++e) product_of<float, unsigned>(lanes[lane]).d[e] = at(lane, e);
  }
}

inline void combine_mma_tf32(Contributions lanes, unsigned) {
  Matrix<float, 16, 8> a;
  Matrix<float, 8, 8> b;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = product_of<float, unsigned>(lanes[lane]);
    const int group = lane / 4, member = lane % 4;
    for (int e = 0; e < 4; ++e) a[group + 8 * (e % 2)][member + 4 * (e / 2)] = tf32(mine.a[e]);
    for (int e = 0; e < 2; ++e) b[member + 4 * e][group] = tf32(mine.b[e]);
  }
  with_accumulators(lanes, [&](Matrix<float, 16, 8>& d) { multiply_tf32(a, b, d); });
}

inline void combine_mma_bf16(Contributions lanes, unsigned) {
  Matrix<float, 16, 16> a;
  Matrix<float, 16, 8> b;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = product_of<float, unsigned>(lanes[lane]);
    const int group = lane / 4, member = lane % 4;
    for (int half = 0; half < 2; ++half) {
      for (int e = 0; e < 4; ++e) {
        a[group + 8 * (e % 2)][2 * member + 8 * (e / 2) + half] = bfloat(mine.a[e], half);
      }
      for (int e = 0; e < 2; ++e) b[2 * member + 8 * e + half][group] = bfloat(mine.b[e], half);
    }
  }
  with_accumulators(lanes, [&](Matrix<float, 16, 8>& d) { multiply_bf16(a, b, d); });
}

inline void combine_mma_f64(Contributions lanes, unsigned) {
  Matrix<double, 8, 4> a;
  Matrix<double, 4, 8> b;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = product_of<double, double>(lanes[lane]);
    a[lane / 4][lane % 4] = *mine.a;
    b[lane % 4][lane / 4] = *mine.b;
  }
  for (int lane = 0; lane < 32; ++lane) {
    double* d = product_of<double, double>(lanes[lane]).d;
    for (int e = 0; e < 2; ++e) {
      for (int k = 0; k < 4; ++k) d[e] = std::fma(a[lane / 4][k], b[k][2 * (lane % 4) + e], d[e]);
    }
  }
}

inline void combine_mma_and_popc(Contributions lanes, unsigned) {
  Matrix<unsigned, 16, 8> a;  // words of 32 columns
  Matrix<unsigned, 8, 8> b;   // words of 32 rows
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = product_of<int, unsigned>(lanes[lane]);
    const int group = lane / 4, member = lane % 4;
    for (int e = 0; e < 4; ++e) a[group + 8 * (e % 2)][member + 4 * (e / 2)] = mine.a[e];
    for (int e = 0; e < 2; ++e) b[member + 4 * e][group] = mine.b[e];
  }
  for (int lane = 0; lane < 32; ++lane) {
    int* d = product_of<int, unsigned>(lanes[lane]).d;
    for (int e = 0; e < 4; ++e) {
      const int row = lane / 4 + 8 * (e / 2), column = 2 * (lane % 4) + e % 2;
      for (int word = 0; word < 8; ++word) d[e] += __popc(a[row][word] & b[word][column]);
    }
  }
}

struct MatrixLoad {
  const void* row;
  unsigned* r;
};

template <bool transposed>
void combine_matrix_load(Contributions lanes, unsigned) {
  // 16-bit element `column` of a row of matrix j.
  const auto element = [&](int j, int row, int column) {
    std::uint16_t value;
    std::memcpy(&value, static_cast<const char*>(static_cast<MatrixLoad*>(lanes[8 * j + row])->row) + 2 * column, 2);
    return static_cast<unsigned>(value);
  };
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4, first = lane % 4 * 2;
    for (int j = 0; j < 4; ++j) {
      const unsigned low = transposed ? element(j, first, group) : element(j, group, first);
      const unsigned high = transposed ? element(j, first + 1, group) : element(j, group, first + 1);
      static_cast<MatrixLoad*>(lanes[lane])->r[j] = low | high << 16;
    }
  }
}

template <bool transposed, class T>
void load_matrix(const char* what, unsigned* r, cuda::Shared<T> span, int index, Site site) {
  constexpr int row_bytes = 16;
  MatrixLoad mine{span.bytes_at(index, row_bytes, row_bytes), r};
  touch(mine.row, row_bytes, Access::read);
  meet_warp(what, all_lanes, &combine_matrix_load<transposed>, &mine, site);
}

template <class Result, class Operand>
void multiply(const char* what, Combine combine, Result* d, const Operand* a, const Operand* b, Site site) {
  Product<Result, Operand> mine{d, a, b};
  meet_warp(what, all_lanes, combine, &mine, site);
}

}  // namespace gatentk::emulation

namespace gatentk::cuda {

template <int bytes, class T>
void copy_async(Shared<T> dst, int index, const T* src, bool on = true) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
  emulation::start_copy(dst.bytes_at(index, bytes, bytes), src, bytes, on ? bytes : 0);
}
template <class T>
const T* strided(const T* base, int index, int stride) {
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(base) + static_cast<std::int64_t>(index) * stride);
}
inline void commit_copies() {
  emulation::commit_copies();
}
template <int left>
void wait_copies() {
  emulation::wait_copies(left);
}

template <class T>
void load_matrix_x4(unsigned (&r)[4], Shared<T> span, int index, emulation::Site site = emulation::Site::here()) {
  emulation::load_matrix<false>("load_matrix_x4", r, span, index, site);
}

template <class T>
void load_matrix_x4_transposed(unsigned (&r)[4], Shared<T> span, int index,
                               emulation::Site site = emulation::Site::here()) {
  emulation::load_matrix<true>("load_matrix_x4_transposed", r, span, index, site);
}

// Adding half a unit in the last place to the magnitude rounds ties away from zero, as before sm_90; a carry moves on
// to the exponent.
inline unsigned to_tf32(unsigned element) {
  return std::isfinite(__uint_as_float(element)) ? element + 0x1000u : element;
}

inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                     emulation::Site site = emulation::Site::here()) {
  emulation::multiply("mma_tf32", &emulation::combine_mma_tf32, d, a, b, site);
}
inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                     emulation::Site site = emulation::Site::here()) {
  emulation::multiply("mma_bf16", &emulation::combine_mma_bf16, d, a, b, site);
}
inline void mma_f64(double (&d)[2], double a, double b, emulation::Site site = emulation::Site::here()) {
  emulation::multiply("mma_f64", &emulation::combine_mma_f64, d, &a, &b, site);
}
inline void mma_and_popc(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                         emulation::Site site = emulation::Site::here()) {
  emulation::multiply("mma_and_popc", &emulation::combine_mma_and_popc, d, a, b, site);
}

// As inaccurate as the instruction may be: the last bit is lost.
inline float approximate_sqrt(float x) {
  constexpr float smallest_normal = 0x1p-126f;
  const float root = std::sqrt(std::fabs(x) < smallest_normal ? 0.0f : x);
  return __uint_as_float(__float_as_uint(root) & ~1u);
}

inline double approximate_rsqrt(double x) {
  constexpr long long upper_half = -(1ll << 32);
  const double upper = __longlong_as_double(__double_as_longlong(x) & upper_half);
  return __longlong_as_double(__double_as_longlong(1.0 / std::sqrt(upper)) & upper_half);
}

}  // namespace gatentk::cuda
