// The storage of a bfloat16 for code that does not see the CUDA headers.
#pragma once

#include <cstdint>

namespace gatentk::cuda {

// The upper half of a float; kernels read it as __nv_bfloat16.
struct Bfloat16 {
  std::uint16_t bits;
};

}  // namespace gatentk::cuda
