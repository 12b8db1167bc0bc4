// One registration per kernel family.
#pragma once

#include <pybind11/pybind11.h>

namespace gatentk::bind {

void register_blocks(pybind11::module_& m);
void register_checksum(pybind11::module_& m);
void register_density(pybind11::module_& m);
void register_gate_gram(pybind11::module_& m);
void register_gram(pybind11::module_& m);
void register_infinite_ntk(pybind11::module_& m);
void register_machine(pybind11::module_& m);
void register_masked_matmul(pybind11::module_& m);
void register_ordered_linear(pybind11::module_& m);
void register_pack_bits(pybind11::module_& m);

}  // namespace gatentk::bind
