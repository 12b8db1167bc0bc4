// Arguments that Python passes for a matrix: addresses, sizes and strides, checked in python/gatentk/ops.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <tuple>

#include "gatentk/views.hpp"

namespace gatentk::bind {

// (address or 0, stride)
using GateArgs = std::tuple<std::uintptr_t, std::int64_t>;
// (address, rows, width, stride, gates, transposed)
using ViewArgs = std::tuple<std::uintptr_t, std::int64_t, std::int64_t, std::int64_t, GateArgs, bool>;

template <class T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

inline GateView gate_view(const GateArgs& args) {
  return {pointer<const std::uint8_t>(std::get<0>(args)), std::get<1>(args)};
}

template <class T>
RowsView<T> view(const ViewArgs& args) {
  const auto& [data, rows, width, stride, gates, transposed] = args;
  return {pointer<const T>(data), rows, width, stride, gate_view(gates), transposed};
}

}  // namespace gatentk::bind
