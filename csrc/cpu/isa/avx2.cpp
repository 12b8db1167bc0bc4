// AVX2 and FMA.
#define GATENTK_ISA avx2
#define GATENTK_ISA_NAME "avx2"
#define GATENTK_VECTOR_BYTES 32
#define GATENTK_MAKE_TABLE make_avx2_table
#include "cpu/isa/table.hpp"
