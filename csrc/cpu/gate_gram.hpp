// How many gates two samples have on in common, on the CPU.
#pragma once

#include "gatentk/gate_gram.hpp"

namespace gatentk::cpu {

void gate_gram(const GateGram& problem, int threads);

}  // namespace gatentk::cpu
