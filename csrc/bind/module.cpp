#include "bind/register.hpp"
#include "cpu/kernel_table.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "Compiled kernels; takes addresses, sizes and strides. Use gatentk.ops instead.";
  gatentk::cpu::kernels();  // a wrong GATENTK_ISA is reported at import
  gatentk::bind::register_gate_gram(m);
  gatentk::bind::register_gram(m);
  gatentk::bind::register_infinite_ntk(m);
  gatentk::bind::register_machine(m);
  gatentk::bind::register_masked_matmul(m);
  gatentk::bind::register_ordered_linear(m);
  gatentk::bind::register_pack_bits(m);
}
