// Included once per instruction set, with GATENTK_ISA, GATENTK_VECTOR_BYTES and GATENTK_ISA_NAME defined.
#include "cpu/blocks_gradient_kernel.hpp"
#include "cpu/checksum_kernel.hpp"
#include "cpu/gate_gram_kernel.hpp"
#include "cpu/infinite_ntk_kernel.hpp"
#include "cpu/isa/tables.hpp"
#include "cpu/pack_bits_kernel.hpp"
#include "cpu/peak_kernel.hpp"
#include "cpu/plan_kernel.hpp"
#include "cpu/product_kernel.hpp"

namespace gatentk::cpu {

KernelTable GATENTK_MAKE_TABLE() {
  using namespace GATENTK_ISA;
  return {GATENTK_ISA_NAME,
          GATENTK_VECTOR_BYTES,
          GATENTK_ISA::product_kernels<float>(),
          GATENTK_ISA::product_kernels<double>(),
          GATENTK_ISA::infinite_kernels<float>(),
          GATENTK_ISA::infinite_kernels<double>(),
          bit_kernels(),
          plan_kernels(),
          gate_gram_kernels(),
          GATENTK_ISA::block_kernels<float>(),
          GATENTK_ISA::block_kernels<double>(),
          checksum_of_block,
          multiply_adds<float>,
          multiply_adds<double>};
}

}  // namespace gatentk::cpu
