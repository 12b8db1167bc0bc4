// Every piece of inline PTX, one function each: asynchronous copies, matrix loads and the tensor cores' products.
//
// Fragments of a matrix product are named as in the PTX ISA ("Matrix Fragments for mma"): with group = lane / 4 and
// member = lane % 4, every 16 x 8 or 8 x 8 result d holds
//   d[e] = (row group + 8 (e / 2), column 2 member + e % 2).
#pragma once

#include "cuda/device/language.cuh"
#include "cuda/device/shared.cuh"

#ifdef GATENTK_CUDA_EMULATION
#include "emulator/ptx.hpp"
#else

namespace gatentk::cuda {

// Copies `bytes` = 4, 8 or 16 from global to element `index` of `dst` in the background, both aligned to `bytes`; if
// not `on` nothing is read, and zeros arrive. Copies of 16 bytes bypass L1: a tile is read once per block. A number of
// valid bytes in the place of the predicate would cost three instructions a copy.
template <int bytes, class T>
__device__ __forceinline__ void copy_async(Shared<T> dst, int index, const T* src, bool on = true) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
  const int ignored = !on;
  if constexpr (bytes == 16) {
    asm volatile(
        "{\n"
        ".reg .pred ignored;\n"
        "setp.ne.s32 ignored, %2, 0;\n"
        "cp.async.cg.shared.global [%0], [%1], 16, ignored;\n"
        "}" ::"r"(dst.address(index)),
        "l"(src), "r"(ignored)
        : "memory");
  } else {
    asm volatile(
        "{\n"
        ".reg .pred ignored;\n"
        "setp.ne.s32 ignored, %3, 0;\n"
        "cp.async.ca.shared.global [%0], [%1], %2, ignored;\n"
        "}" ::"r"(dst.address(index)),
        "l"(src), "n"(bytes), "r"(ignored)
        : "memory");
  }
}

// The address `index` times `stride` bytes after `base`: one instruction with the addition. The compiler would widen a
// stride that a loop keeps to 64 bits, and multiply in four.
template <class T>
__device__ __forceinline__ const T* strided(const T* base, int index, int stride) {
  long long bytes;
  asm("mul.wide.s32 %0, %1, %2;" : "=l"(bytes) : "r"(index), "r"(stride));
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(base) + bytes);
}

// Closes the group of copies that this thread has started since its last group.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most the `left` youngest groups of this thread are still under way.
template <int left>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

// Four matrices of 8 rows of 16 bytes: lane l gives the address of row l % 8 of matrix l / 8 as element `index` of
// `span`, aligned to 16 bytes. r[j] is 32-bit word l % 4 of row l / 4 of matrix j.
template <class T>
__device__ __forceinline__ void load_matrix_x4(unsigned (&r)[4], Shared<T> span, int index) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(span.address(index)));
}

// The same, and each of the four is transposed: halves 2 (l % 4) and 2 (l % 4) + 1 of r[j] are 16-bit element l / 4 of
// rows 2 (l % 4) and 2 (l % 4) + 1 of matrix j.
template <class T>
__device__ __forceinline__ void load_matrix_x4_transposed(unsigned (&r)[4], Shared<T> span, int index) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(span.address(index)));
}

// The nearest TF32 number (10 bits of mantissa) to a float, in the bits that a tensor core looks at; the other 13 are
// anything. Ties go to even from sm_90 on, which has one instruction for it, else away from zero by two; cvt.rna takes
// three or four, because it clears the rest as well. NaN and infinity stay what they are.
__device__ __forceinline__ unsigned to_tf32(unsigned element) {
#if __CUDA_ARCH__ >= 900
  unsigned bits;
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(bits) : "f"(__uint_as_float(element)));
  return bits;
#else
  return fabsf(__uint_as_float(element)) < __uint_as_float(0x7f800000u) ? element + 0x1000u : element;
#endif
}

// d += a b for a (16 x 8) and b (8 x 8) of TF32 numbers.
//   a[e] = (group + 8 (e % 2), member + 4 (e / 2)),  b[e] = (member + 4 e, group)
__device__ __forceinline__ void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b for a (16 x 16) and b (16 x 8) of bfloat16 numbers, two in a register, the first in its low half.
//   a[e] = (group + 8 (e % 2), 2 member + 8 (e / 2) + 0..1),  b[e] = (2 member + 8 e + 0..1, group)
__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b for a (8 x 4) and b (4 x 8).
//   a = (group, member),  b = (member, group)
__device__ __forceinline__ void mma_f64(double (&d)[2], double a, double b) {
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
               : "+d"(d[0]), "+d"(d[1])
               : "d"(a), "d"(b));
}

// d += popcount(a and b) for a (16 x 256) and b (256 x 8) of bits, 32 in a register, the first in its lowest bit.
//   a[e] = (group + 8 (e % 2), 32 member + 128 (e / 2) + 0..31),  b[e] = (32 member + 128 e + 0..31, group)
__device__ __forceinline__ void mma_and_popc(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Square root within one unit in the last place in one instruction; subnormal arguments count as zero.
__device__ __forceinline__ float approximate_sqrt(float x) {
  float root;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(x));
  return root;
}

// 1/sqrt(x) to about 20 bits, the start of an iteration: only the upper halves of x > 0 and of the result are used.
__device__ __forceinline__ double approximate_rsqrt(double x) {
  double inverse;
  asm("rsqrt.approx.ftz.f64 %0, %1;" : "=d"(inverse) : "d"(x));
  return inverse;
}

}  // namespace gatentk::cuda

#endif
