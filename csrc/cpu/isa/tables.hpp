// One maker of a kernel table per instruction set that the build has.
#pragma once

#include "cpu/kernel_table.hpp"

namespace gatentk::cpu {

KernelTable make_portable_table();
KernelTable make_wide_table();
#ifdef GATENTK_X86
KernelTable make_avx2_table();
KernelTable make_avx512_table();
#endif

}  // namespace gatentk::cpu
