// What the host needs to know of a GPU to choose a configuration and to start a kernel.
#pragma once

#include <stdexcept>
#include <string>

namespace gatentk::cuda {

struct Device {
  int architecture = 0;  // 80, 90, 100 ...
  int multiprocessors = 1;
  int shared_bytes = 0;    // shared memory that a block may ask for, CUDA's sharedMemPerBlockOptin
  void* stream = nullptr;  // a cudaStream_t

  // Blocks that the shared memory of a multiprocessor holds at once if each asks for `bytes`; 0: none starts. CUDA
  // keeps 1 KB of every block for itself, and on all architectures from sm_80 on a multiprocessor has just that much
  // more than one block may ask for (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
  constexpr int blocks_with(int bytes) const {
    constexpr int reserved = 1024;
    return (shared_bytes + reserved) / (bytes + reserved);
  }
};

// Throws std::runtime_error if no block of `name` with that much shared memory starts on the device.
inline void check_shared_bytes(const char* name, int bytes, const Device& device) {
  if (bytes > device.shared_bytes)
    throw std::runtime_error(std::string(name) + ": needs " + std::to_string(bytes) +
                             " bytes of shared memory for a block, and the device has " +
                             std::to_string(device.shared_bytes));
}

// The shared_bytes of CUDA's device number `index`.
int shared_bytes_of(int index);

}  // namespace gatentk::cuda
