// The blocking of AVX-512 without its instructions, so that its code paths are tested on every machine; slow.
#define GATENTK_ISA wide
#define GATENTK_ISA_NAME "wide"
#define GATENTK_VECTOR_BYTES 64
#define GATENTK_MAKE_TABLE make_wide_table
#include "cpu/isa/table.hpp"
