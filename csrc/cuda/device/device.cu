#include "cuda/device/device.hpp"
#include "cuda/device/launch.cuh"

namespace gatentk::cuda {

int shared_bytes_of(int index) {
  return query_shared_bytes(index);
}

}  // namespace gatentk::cuda
