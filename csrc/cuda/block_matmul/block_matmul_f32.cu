#include "cuda/block_matmul/launch.cuh"

namespace gatentk::cuda {

template void block_matmul(const BlockMatmul<float>&, Precision, const Device&, int);

}  // namespace gatentk::cuda
