#include "bind/register.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "Compiled kernels; takes addresses, sizes and strides. Use gatentk.ops instead.";
  gatentk::bind::register_blocks(m);
  gatentk::bind::register_checksum(m);
  gatentk::bind::register_density(m);
  gatentk::bind::register_gate_gram(m);
  gatentk::bind::register_gram(m);
  gatentk::bind::register_infinite_ntk(m);
  gatentk::bind::register_machine(m);
  gatentk::bind::register_masked_matmul(m);
  gatentk::bind::register_ordered_linear(m);
  gatentk::bind::register_pack_bits(m);
}
