// Vectors of GATENTK_VECTOR_BYTES bytes for the kernel texts, which are compiled once per instruction set.
// Everything lives in a namespace per instruction set and is inlined: code compiled with an instruction set's flags
// must never be merged by the linker with another unit's copy.
#pragma once

#include <cstdint>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define GATENTK_INLINE inline __attribute__((always_inline))

namespace gatentk::GATENTK_ISA {

template <class T>
struct Simd {
  typedef T Vector __attribute__((vector_size(GATENTK_VECTOR_BYTES)));
  typedef T Unaligned __attribute__((vector_size(GATENTK_VECTOR_BYTES), aligned(sizeof(T)), may_alias));
  static constexpr int lanes = GATENTK_VECTOR_BYTES / sizeof(T);
};

template <class T>
using Vector = typename Simd<T>::Vector;

template <class T>
static GATENTK_INLINE Vector<T> load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::Unaligned*>(p);
}

template <class T>
static GATENTK_INLINE void store(T* p, Vector<T> v) {
  *reinterpret_cast<typename Simd<T>::Unaligned*>(p) = v;
}

template <class T>
static GATENTK_INLINE Vector<T> broadcast(T x) {
  return x - Vector<T>{};
}

// The compiler computes `v` here, not later where it is used.
template <class V>
static GATENTK_INLINE void keep_order([[maybe_unused]] V& v) {
#if defined(__AVX512F__)
  __asm__ volatile("" : "+v"(v));
#elif defined(__x86_64__) && GATENTK_VECTOR_BYTES <= 32
  __asm__ volatile("" : "+x"(v));
#endif
}

static GATENTK_INLINE Vector<double> load_double(const double* p) {
  return load(p);
}

static GATENTK_INLINE Vector<double> load_double(const float* p) {
  typedef float Half __attribute__((vector_size(GATENTK_VECTOR_BYTES / 2), aligned(4), may_alias));
  return __builtin_convertvector(*reinterpret_cast<const Half*>(p), Vector<double>);
}

template <class T>
static GATENTK_INLINE T horizontal_sum(Vector<T> v) {
  T sum = 0;
  for (int lane = 0; lane < Simd<T>::lanes; ++lane) sum += v[lane];
  return sum;
}

static GATENTK_INLINE Vector<double> square_root(Vector<double> v) {
#if GATENTK_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (Vector<double>)_mm512_maskz_sqrt_pd(0xff, (__m512d)v);
#elif GATENTK_VECTOR_BYTES == 32 && defined(__AVX2__)
  return (Vector<double>)_mm256_sqrt_pd((__m256d)v);
#else
  for (int lane = 0; lane < Simd<double>::lanes; ++lane) v[lane] = __builtin_sqrt(v[lane]);
  return v;
#endif
}

static GATENTK_INLINE Vector<float> square_root(Vector<float> v) {
#if GATENTK_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (Vector<float>)_mm512_maskz_sqrt_ps(0xffff, (__m512)v);
#elif GATENTK_VECTOR_BYTES == 32 && defined(__AVX2__)
  return (Vector<float>)_mm256_sqrt_ps((__m256)v);
#else
  for (int lane = 0; lane < Simd<float>::lanes; ++lane) v[lane] = __builtin_sqrtf(v[lane]);
  return v;
#endif
}

}  // namespace gatentk::GATENTK_ISA
