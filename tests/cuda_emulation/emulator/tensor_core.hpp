// How tensor cores add the products of bfloat16 and of TF32 numbers.
#pragma once

namespace gatentk::emulation {

// Matrices of a warp's product, as its fragments spell them.
template <class T, int rows, int columns>
using Matrix = T[rows][columns];

// d += a b. Products are exact. As many as the tensor core takes at once are added to a sum together: all of them and
// the sum are shifted to the largest exponent among them, what then lies `fraction_bits` behind the binary point is cut
// off from each, and the sum is cut off to a float; nothing is rounded. The exponent of a product is the sum of its
// factors', subnormal numbers count, and a sum of 2^128 or more is infinite.
//
//   architecture       bfloat16 at once  TF32 at once  fraction bits
//   80, 86, 89 ...            8               4              24
//   90, 100, 120             16               8              25
//
// M. Fasi, N. J. Higham, M. Mikaitis, S. Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7
// (2021) e330, found this on V100, T4 and A100; the numbers are those of the models that agree with the hardware in
// every bit: F. A. Khattak, M. Mikaitis, "Accurate Models of NVIDIA Tensor Cores", arXiv:2512.07004, and P. Xie et al.,
// "MMA-Sim: Bit-Accurate Reference Model of Tensor Cores and Matrix Cores", arXiv:2511.10909. They differ where all
// exponents lie below -126: here the coarser of both is taken, exponents count as -126 at least.
void multiply_tf32(const Matrix<float, 16, 8>& a, const Matrix<float, 8, 8>& b, Matrix<float, 16, 8>& d);
void multiply_bf16(const Matrix<float, 16, 16>& a, const Matrix<float, 16, 8>& b, Matrix<float, 16, 8>& d);

// The architecture whose tensor cores all launches to come have; at first 80, whose cuts are the coarsest.
void set_tensor_cores(int architecture);

}  // namespace gatentk::emulation
