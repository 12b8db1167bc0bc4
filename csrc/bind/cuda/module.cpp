#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <vector>

#include "bind/cuda/register.hpp"
#include "cuda/device/device.hpp"

// The build names what it compiles for; a build without a device compiler stands for all of them.
#ifndef GATENTK_CUDA_ARCHITECTURES
#define GATENTK_CUDA_ARCHITECTURES 80, 90, 100
#endif

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "Compiled CUDA kernels; takes addresses, sizes and strides. Use gatentk.ops instead.";
  m.attr("architectures") = std::vector<int>{GATENTK_CUDA_ARCHITECTURES};
  m.def("shared_bytes_of", &gatentk::cuda::shared_bytes_of, pybind11::arg("index"));
  gatentk::bind::cuda::register_block_matmul(m);
  gatentk::bind::cuda::register_block_weight_gradient(m);
  gatentk::bind::cuda::register_gate_gram(m);
  gatentk::bind::cuda::register_gate_rows(m);
  gatentk::bind::cuda::register_gram(m);
  gatentk::bind::cuda::register_infinite_network(m);
  gatentk::bind::cuda::register_infinite_ntk(m);
  gatentk::bind::cuda::register_ordered_linear(m);
  gatentk::bind::cuda::register_pack_bits(m);
}
