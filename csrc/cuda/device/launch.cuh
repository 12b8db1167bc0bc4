// The one place that starts kernels and asks CUDA what a block may have.
#pragma once

#include "cuda/device/language.cuh"

namespace gatentk::cuda {

struct Grid {
  dim3 blocks;
  int threads = 0;
  int shared_bytes = 0;    // dynamic, per block
  void* stream = nullptr;  // a cudaStream_t
};

}  // namespace gatentk::cuda

#ifdef GATENTK_CUDA_EMULATION
#include "emulator/launch.hpp"
#else

#include <cstddef>
#include <stdexcept>
#include <string>

namespace gatentk::cuda {

inline void check_launch(cudaError_t status, const char* name) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(name) + ": " + cudaGetErrorString(status));
}

// Shared memory in bytes that a block on a device may ask for.
inline int query_shared_bytes(int index) {
  int bytes = 0;
  check_launch(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, index), "shared memory");
  return bytes;
}

// Starts `kernel` on the grid's stream and does not wait for it; a grid without blocks starts nothing. Throws
// std::runtime_error with the kernel's name where CUDA refuses.
template <class... Params, class... Args>
void launch(void (*kernel)(Params...), const char* name, const Grid& grid, Args... args) {
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  constexpr int always_allowed = 48 * 1024;
  if (grid.shared_bytes > always_allowed) {
    check_launch(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, grid.shared_bytes),
                 name);
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid.blocks;
  config.blockDim = dim3(static_cast<unsigned>(grid.threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(grid.shared_bytes);
  config.stream = static_cast<cudaStream_t>(grid.stream);
  check_launch(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...), name);
}

}  // namespace gatentk::cuda

#endif
