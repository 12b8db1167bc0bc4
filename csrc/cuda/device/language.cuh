// CUDA's types and built-in functions, or in the tests the emulator's: the first include of all device code.
#pragma once

#ifdef GATENTK_CUDA_EMULATION
#include "emulator/language.hpp"
#else
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#endif
