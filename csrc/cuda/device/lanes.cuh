// Threads as lanes of a warp.
#pragma once

#include "cuda/device/language.cuh"

namespace gatentk::cuda {

constexpr unsigned all_lanes = 0xffffffffu;

__device__ __forceinline__ int lane_index() {
  return static_cast<int>(threadIdx.x % 32);
}
__device__ __forceinline__ int warp_index() {
  return static_cast<int>(threadIdx.x / 32);
}

// The lowest `count` bits.
__device__ __forceinline__ unsigned low_bits(int count) {
  return count >= 32 ? all_lanes : count <= 0 ? 0u : (1u << count) - 1;
}

// The sum over the lanes, in all of them.
__device__ __forceinline__ double sum_of_warp(double value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(all_lanes, value, step);
  return value;
}

}  // namespace gatentk::cuda
