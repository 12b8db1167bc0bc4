// Included once per instruction set, with GATENTK_ISA, GATENTK_VECTOR_BYTES and GATENTK_ISA_NAME defined.
#include "../gate_gram_kernel.hpp"
#include "../infinite_ntk_kernel.hpp"
#include "../pack_bits_kernel.hpp"
#include "../peak_kernel.hpp"
#include "../product_kernel.hpp"
#include "tables.hpp"

namespace gatentk {

KernelTable GATENTK_MAKE_TABLE() {
  using namespace GATENTK_ISA;
  return {GATENTK_ISA_NAME,
          GATENTK_VECTOR_BYTES,
          GATENTK_ISA::product_kernels<float>(),
          GATENTK_ISA::product_kernels<double>(),
          GATENTK_ISA::infinite_kernels<float>(),
          GATENTK_ISA::infinite_kernels<double>(),
          bit_kernels(),
          multiply_adds<float>,
          multiply_adds<double>};
}

}  // namespace gatentk
