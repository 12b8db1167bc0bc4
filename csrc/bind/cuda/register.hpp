// One registration per kernel family.
#pragma once

#include <pybind11/pybind11.h>

namespace gatentk::bind::cuda {

void register_block_matmul(pybind11::module_& m);
void register_block_weight_gradient(pybind11::module_& m);
void register_gate_gram(pybind11::module_& m);
void register_gate_rows(pybind11::module_& m);
void register_gram(pybind11::module_& m);
void register_infinite_network(pybind11::module_& m);
void register_infinite_ntk(pybind11::module_& m);
void register_ordered_linear(pybind11::module_& m);
void register_pack_bits(pybind11::module_& m);

}  // namespace gatentk::bind::cuda
