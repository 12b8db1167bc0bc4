// AVX-512 F, BW, DQ, VL.
#define GATENTK_ISA avx512
#define GATENTK_ISA_NAME "avx512"
#define GATENTK_VECTOR_BYTES 64
#define GATENTK_MAKE_TABLE make_avx512_table
#include "cpu/isa/table.hpp"
