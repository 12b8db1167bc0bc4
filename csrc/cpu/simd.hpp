// Vectors of GATENTK_VECTOR_BYTES bytes for the kernel texts, which are compiled once per instruction set.
// Everything lives in a namespace per instruction set and is inlined: code compiled with an instruction set's flags
// must never be merged by the linker with another unit's copy.
#pragma once

#include <cstdint>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define GATENTK_INLINE inline __attribute__((always_inline))

namespace gatentk::cpu::GATENTK_ISA {

template <int bytes>
struct IntegerOf {
  using Type = std::int32_t;
};
template <>
struct IntegerOf<8> {
  using Type = std::int64_t;
};

template <class T>
struct Simd {
  typedef T Vector __attribute__((vector_size(GATENTK_VECTOR_BYTES)));
  typedef T Unaligned __attribute__((vector_size(GATENTK_VECTOR_BYTES), aligned(sizeof(T)), may_alias));
  static constexpr int lanes = GATENTK_VECTOR_BYTES / sizeof(T);
  using Integer = typename IntegerOf<sizeof(T)>::Type;
  typedef Integer IntegerVector __attribute__((vector_size(GATENTK_VECTOR_BYTES)));
};

template <class T>
using Vector = typename Simd<T>::Vector;
template <class T>
using IntegerVector = typename Simd<T>::IntegerVector;  // lanes as wide as those of Vector<T>

template <class T>
static GATENTK_INLINE Vector<T> load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::Unaligned*>(p);
}

template <class T>
static GATENTK_INLINE void store(T* p, Vector<T> v) {
  *reinterpret_cast<typename Simd<T>::Unaligned*>(p) = v;
}

// Past the cache, where the instruction set can; `p` is aligned to a vector. Others see it after finish_streams.
template <class T>
static GATENTK_INLINE void stream(T* p, Vector<T> v) {
#if GATENTK_VECTOR_BYTES == 64 && defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#elif GATENTK_VECTOR_BYTES == 32 && defined(__AVX2__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#else
  store(p, v);
#endif
}

static GATENTK_INLINE void finish_streams() {
#if defined(__AVX2__)
  _mm_sfence();
#endif
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

// a b + c with one rounding, whatever the instruction set.
static GATENTK_INLINE Vector<float> fused_multiply_add(Vector<float> a, Vector<float> b, Vector<float> c) {
#if GATENTK_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (Vector<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif GATENTK_VECTOR_BYTES == 32 && defined(__FMA__)
  return (Vector<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  for (int lane = 0; lane < Simd<float>::lanes; ++lane) c[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
  return c;
#endif
}

static GATENTK_INLINE Vector<double> fused_multiply_add(Vector<double> a, Vector<double> b, Vector<double> c) {
#if GATENTK_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (Vector<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif GATENTK_VECTOR_BYTES == 32 && defined(__FMA__)
  return (Vector<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  for (int lane = 0; lane < Simd<double>::lanes; ++lane) c[lane] = __builtin_fma(a[lane], b[lane], c[lane]);
  return c;
#endif
}

// Each bit of a byte becomes a byte 0 or 1: bit b lands in byte b.
static GATENTK_INLINE std::uint64_t spread_bits(std::uint64_t byte) {
  const std::uint64_t isolated = byte * 0x0101010101010101u & 0x8040201008040201u;
  return (isolated + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u;
}

// One step of a transposition: rows i and i + step exchange the lanes that differ in `step`.
template <class T, int step>
static GATENTK_INLINE void exchange(Vector<T>& a, Vector<T>& b) {
  constexpr int lanes = Simd<T>::lanes;
#if defined(__clang__)
  const Vector<T> x = a, y = b;
  for (int lane = 0; lane < lanes; ++lane) {
    a[lane] = lane & step ? y[lane - step] : x[lane];
    b[lane] = lane & step ? y[lane] : x[lane + step];
  }
#else
  IntegerVector<T> low, high;
  for (int lane = 0; lane < lanes; ++lane) {
    low[lane] = lane & step ? lanes + lane - step : lane;
    high[lane] = lane & step ? lanes + lane : lane + step;
  }
  const Vector<T> x = __builtin_shuffle(a, b, low);
  b = __builtin_shuffle(a, b, high);
  a = x;
#endif
}

// Rows of a square of `lanes` x `lanes` become its columns.
template <class T, int step = Simd<T>::lanes / 2>
static GATENTK_INLINE void transpose(Vector<T>* rows) {
  if constexpr (step > 0) {
#pragma GCC unroll 16
    for (int r = 0; r < Simd<T>::lanes; ++r)
      if (!(r & step)) exchange<T, step>(rows[r], rows[r + step]);
    transpose<T, step / 2>(rows);
  }
}

}  // namespace gatentk::cpu::GATENTK_ISA
