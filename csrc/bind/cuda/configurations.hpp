// Configurations of kernels as Python sees them: a dict each.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/tile/configuration.hpp"

namespace gatentk::bind::cuda {

using gatentk::cuda::Arithmetic;
using gatentk::cuda::TileConfiguration;

inline const char* arithmetic_name(Arithmetic arithmetic) {
  switch (arithmetic) {
    case Arithmetic::fma:
      return "strict";
    case Arithmetic::tf32x3:
      return "tf32x3";
    case Arithmetic::tf32:
      return "tf32";
    case Arithmetic::f64:
      return "f64";
    case Arithmetic::bf16:
      return "bf16";
  }
  return "";
}

inline Arithmetic arithmetic_named(const std::string& name) {
  for (const Arithmetic arithmetic :
       {Arithmetic::fma, Arithmetic::tf32x3, Arithmetic::tf32, Arithmetic::f64, Arithmetic::bf16})
    if (name == arithmetic_name(arithmetic)) return arithmetic;
  throw std::invalid_argument("arithmetic: expected strict, tf32x3, tf32, f64 or bf16, got " + name);
}

inline gatentk::cuda::Precision precision_of(int index) {
  if (index < 0 || index > 2)
    throw std::invalid_argument("precision: expected 0 (strict), 1 (tf32x3) or 2 (tf32), got " + std::to_string(index));
  return static_cast<gatentk::cuda::Precision>(index);
}

// A configuration and the kernels that it starts.
inline pybind11::dict configuration_entry(const std::string& name, const std::vector<std::string>& kernels, int threads,
                                          int shared_bytes) {
  pybind11::dict entry;
  entry["name"] = name;
  entry["kernels"] = kernels;
  entry["threads"] = threads;
  entry["shared_bytes"] = shared_bytes;
  return entry;
}

inline const std::vector<int> all_architectures{80, 90, 100};

// One dict for each entry of a table; `kernel` is the template that its index instantiates.
template <std::size_t count, class SharedBytes>
pybind11::list tile_configurations(const TileConfiguration (&table)[count], const char* kernel,
                                   SharedBytes&& shared_bytes) {
  pybind11::list result;
  for (const TileConfiguration& tile : table) {
    pybind11::dict entry =
        configuration_entry(tile.name, {std::string(kernel) + "<" + std::to_string(&tile - table) + ">"},
                            tile.threads(), shared_bytes(tile));
    entry["arithmetic"] = arithmetic_name(tile.arithmetic);
    entry["tile_rows"] = tile.rows;
    entry["tile_columns"] = tile.columns;
    entry["stages"] = tile.stages;
    pybind11::dict resident;
    for (const int architecture : all_architectures)
      resident[pybind11::int_(architecture)] = tile.resident(architecture);
    entry["resident"] = resident;
    result.append(entry);
  }
  return result;
}

}  // namespace gatentk::bind::cuda
