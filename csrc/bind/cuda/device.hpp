// The device that a call runs on, as Python passes it.
#pragma once

#include <cstdint>
#include <tuple>

#include "cuda/device/device.hpp"

namespace gatentk::bind::cuda {

// (architecture, multiprocessors, shared memory of a block in bytes, address of the stream)
using DeviceArgs = std::tuple<int, int, int, std::uintptr_t>;

inline gatentk::cuda::Device device_of(const DeviceArgs& args) {
  const auto& [architecture, multiprocessors, shared_bytes, stream] = args;
  return {architecture, multiprocessors, shared_bytes, reinterpret_cast<void*>(stream)};
}

}  // namespace gatentk::bind::cuda
