// Two neighbouring outputs at once.
#pragma once

#include "cuda/device/bfloat16.hpp"
#include "cuda/device/language.cuh"

namespace gatentk::cuda {

// `to` is aligned for two elements.
__device__ __forceinline__ void store_pair(float* to, float a, float b) {
  *reinterpret_cast<float2*>(to) = make_float2(a, b);
}
__device__ __forceinline__ void store_pair(double* to, double a, double b) {
  *reinterpret_cast<double2*>(to) = make_double2(a, b);
}
// Two rounded numbers, the first in the low half.
__device__ __forceinline__ unsigned bfloat16_pair(float a, float b) {
  const __nv_bfloat16 pair[2] = {__float2bfloat16_rn(a), __float2bfloat16_rn(b)};
  return *reinterpret_cast<const unsigned*>(pair);
}
__device__ __forceinline__ void store_pair(Bfloat16* to, float a, float b) {
  *reinterpret_cast<unsigned*>(to) = bfloat16_pair(a, b);
}

}  // namespace gatentk::cuda
