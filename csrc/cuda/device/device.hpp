// What the host needs to know of a GPU to choose a configuration and to start a kernel.
#pragma once

namespace gatentk::cuda {

struct Device {
  int architecture = 0;  // 80, 90, 100 ...
  int multiprocessors = 1;
  void* stream = nullptr;  // a cudaStream_t
};

}  // namespace gatentk::cuda
