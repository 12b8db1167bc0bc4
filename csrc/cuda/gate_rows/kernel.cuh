// Values of rows where their gates are on, zeros elsewhere.
#pragma once

#include <cstdint>

#include "cuda/device/language.cuh"
#include "cuda/gate_rows/configurations.hpp"

namespace gatentk::cuda {

// Values are moved as they are stored, so only their size counts.
template <int bytes>
struct StoredValue;
template <>
struct StoredValue<2> {
  using Type = std::uint16_t;
};
template <>
struct StoredValue<4> {
  using Type = std::uint32_t;
};
template <>
struct StoredValue<8> {
  using Type = unsigned long long;
};

template <int bytes>
struct GateRowsArguments {
  using Value = typename StoredValue<bytes>::Type;
  const Value* values;
  std::int64_t values_stride;
  const unsigned* bits;
  std::int64_t bits_stride;  // in words
  Value* out;
  std::int64_t out_stride;
  std::int64_t rows;
  unsigned chunks;                  // accesses that make a row
  unsigned step_rows, step_chunks;  // rows and chunks between a thread's accesses
  unsigned block;                   // neighbouring values that share a bit
};

// What one access moves.
template <int bytes, int elements>
struct alignas(bytes* elements) Chunk {
  typename StoredValue<bytes>::Type at[elements];
};

// Bit e is the gate of column first + e, for `elements` columns, of which `block` share a bit of `row`.
template <int elements>
__device__ __forceinline__ unsigned shared_gates(const unsigned* row, unsigned first, unsigned block) {
  unsigned gates = 0, unit = first / block;
  for (unsigned e = 0; e < elements; ++unit) {
    const unsigned end = min(static_cast<unsigned>(elements), (unit + 1) * block - first);
    if (row[unit / 32] >> unit % 32 & 1) gates |= (1u << end) - (1u << e);
    e = end;
  }
  return gates;
}

// Threads take chunks of all rows without gaps, so that short rows keep warps busy as well; first all gates are read,
// then all values. What is off is not read, and in place what is on is not written.
template <int bytes, int elements>
__global__ void __launch_bounds__(gate_rows_threads) gate_rows_kernel(const GateRowsArguments<bytes> a) {
  using Moved = Chunk<bytes, elements>;
  constexpr int count = gate_rows_accesses;
  constexpr unsigned all_on = (1u << elements) - 1;
  const std::int64_t start = std::int64_t{blockIdx.x} * (gate_rows_threads * count) + threadIdx.x;
  std::int64_t row[count] = {start / a.chunks};
  unsigned column[count] = {static_cast<unsigned>(start % a.chunks)};
#pragma unroll
  for (int i = 1; i < count; ++i) {
    const unsigned chunk = column[i - 1] + a.step_chunks, over = chunk >= a.chunks;
    row[i] = row[i - 1] + a.step_rows + over;
    column[i] = over ? chunk - a.chunks : chunk;
  }
  unsigned gates[count] = {};
  if (a.block == 1) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      column[i] *= elements;
      if (row[i] < a.rows) gates[i] = a.bits[row[i] * a.bits_stride + column[i] / 32] >> column[i] % 32 & all_on;
    }
  } else {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      column[i] *= elements;
      if (row[i] < a.rows) gates[i] = shared_gates<elements>(a.bits + row[i] * a.bits_stride, column[i], a.block);
    }
  }
  const bool in_place = a.values == a.out;
  Moved moved[count] = {};
#pragma unroll
  for (int i = 0; i < count; ++i)
    if (gates[i] && !(in_place && gates[i] == all_on))
      moved[i] = *reinterpret_cast<const Moved*>(a.values + row[i] * a.values_stride + column[i]);
#pragma unroll
  for (int i = 0; i < count; ++i) {
#pragma unroll
    for (int e = 0; e < elements; ++e)
      if (!(gates[i] >> e & 1)) moved[i].at[e] = 0;
    if (row[i] < a.rows && !(in_place && gates[i] == all_on))
      *reinterpret_cast<Moved*>(a.out + row[i] * a.out_stride + column[i]) = moved[i];
  }
}

}  // namespace gatentk::cuda
