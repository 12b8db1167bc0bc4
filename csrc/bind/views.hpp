// Arguments that Python passes for a matrix: addresses, sizes and strides, checked in gatentk/ops.py.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <tuple>

#include "gatentk/views.hpp"

namespace gatentk::bind {

// (address, rows, width, stride, gates address or 0, gate stride)
using ViewArgs = std::tuple<std::uintptr_t, std::int64_t, std::int64_t, std::int64_t, std::uintptr_t, std::int64_t>;

template <class T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

template <class T>
RowsView<T> view(const ViewArgs& args) {
  const auto& [data, rows, width, stride, gates, gate_stride] = args;
  return {pointer<const T>(data), rows, width, stride, pointer<const std::uint8_t>(gates), gate_stride};
}

}  // namespace gatentk::bind
