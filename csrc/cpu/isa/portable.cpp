// The baseline of the compiler's target: SSE2 on x86-64, NEON on ARM.
#define GATENTK_ISA portable
#define GATENTK_ISA_NAME "portable"
#define GATENTK_VECTOR_BYTES 16
#define GATENTK_MAKE_TABLE make_portable_table
#include "cpu/isa/table.hpp"
