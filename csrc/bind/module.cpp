#include "gatentk/kernel_table.hpp"
#include "register.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "Compiled kernels; takes addresses, sizes and strides. Use gatentk.ops instead.";
  gatentk::kernels();  // a wrong GATENTK_ISA is reported at import
  gatentk::bind::register_gate_gram(m);
  gatentk::bind::register_gram(m);
  gatentk::bind::register_infinite_ntk(m);
  gatentk::bind::register_machine(m);
  gatentk::bind::register_masked_matmul(m);
  gatentk::bind::register_pack_bits(m);
}
