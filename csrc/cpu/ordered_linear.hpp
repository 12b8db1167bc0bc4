// Products in a fixed order on the CPU.
#pragma once

#include "gatentk/ordered_linear.hpp"

namespace gatentk::cpu {

template <class T>
void ordered_linear(const OrderedProduct<T>& product, int threads);

}  // namespace gatentk::cpu
