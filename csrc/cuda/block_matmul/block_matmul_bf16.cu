#include "cuda/block_matmul/launch.cuh"

namespace gatentk::cuda {

template void block_matmul(const BlockMatmul<Bfloat16>&, Precision, const Device&, int);

}  // namespace gatentk::cuda
