// The CUDA language in plain C++, as far as the kernels use it. Blocks run one after another; each thread of a block
// is a fiber or, under ThreadSanitizer, a thread of the host (block.hpp).
#pragma once

#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __constant__ const

#include "arithmetic.hpp"
#include "collectives.hpp"
#include "indices.hpp"
#include "vectors.hpp"
