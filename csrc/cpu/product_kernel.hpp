// The core of every masked product: tile[4][columns] += rows (masked) times panel, visiting only what is on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gatentk/kernel_table.hpp"
#include "plan_kernel.hpp"
#include "registers.hpp"
#include "simd.hpp"

namespace gatentk::GATENTK_ISA {

// Vectors per row of a tile: 4 x 6 accumulators of 32 registers (AVX-512), 4 x 3 of 16 (all others).
constexpr int tile_vectors = GATENTK_VECTOR_BYTES == 64 ? 6 : 3;

template <class T>
constexpr int panel_columns = tile_vectors * Simd<T>::lanes;

constexpr int panel_row_bytes = tile_vectors * GATENTK_VECTOR_BYTES;

template <bool narrow>
struct OffsetOf {
  using Type = std::uint16_t;
};
template <>
struct OffsetOf<false> {
  using Type = std::uint32_t;
};

// A step of a packed group: two columns of a pair (or one single column, twice) and the values of four rows. Offsets
// are as wide as a value's half, so that nothing is padded.
template <class T>
struct Step {
  static constexpr bool narrow = sizeof(T) == 4 && panel_row_bytes * block_columns <= 65536;
  using Offset = typename OffsetOf<narrow>::Type;
  Offset offset[2];
  T value[group_rows];
};

template <class T>
using Accumulators = Sums<T, group_rows * tile_vectors>;

// One row of a visit: sums of row r += factor * panel row.
template <class T, int r>
static GATENTK_INLINE void add_row(T factor, Sums<T, tile_vectors>& row, Accumulators<T>& sums) {
  const Vector<T> factors = broadcast(factor);
  unrolled<tile_vectors>([&](auto v) __attribute__((always_inline)) {
    sum_at<r * tile_vectors + v.index>(sums) += factors * sum_at<v.index>(row);
  });
}

// One column: its panel row is loaded once and used by exactly the rows of `pattern`.
template <class T, int pattern>
static GATENTK_INLINE void visit(const std::byte* panel, typename Step<T>::Offset offset, const T* value,
                                 Accumulators<T>& sums) {
  Sums<T, tile_vectors> row;
  unrolled<tile_vectors>([&](auto v) __attribute__((always_inline)) {
    sum_at<v.index>(row) = *reinterpret_cast<const Vector<T>*>(panel + offset + v.index * GATENTK_VECTOR_BYTES);
  });
  if constexpr (pattern & 1) add_row<T, 0>(value[0], row, sums);
  if constexpr (pattern & 2) add_row<T, 1>(value[__builtin_popcount(pattern & 1)], row, sums);
  if constexpr (pattern & 4) add_row<T, 2>(value[__builtin_popcount(pattern & 3)], row, sums);
  if constexpr (pattern & 8) add_row<T, 3>(value[__builtin_popcount(pattern & 7)], row, sums);
}

template <class T, int pattern>
static GATENTK_INLINE const Step<T>* visit_pairs(const std::byte* panel, const Step<T>* step, int pairs,
                                                 Accumulators<T>& sums) {
  constexpr int rows_on = __builtin_popcount(pattern);
  const Step<T>* end = step + pairs;
#pragma GCC unroll 1
  for (; step != end; ++step) {
    visit<T, pattern>(panel, step->offset[0], step->value, sums);
    visit<T, all_on - pattern>(panel, step->offset[1], step->value + rows_on, sums);
  }
  return step;
}

template <class T>
static GATENTK_INLINE const Step<T>* visit_singles(const std::byte* panel, const Step<T>* step, int singles,
                                                   Accumulators<T>& sums) {
  const Step<T>* end = step + singles;
#pragma GCC unroll 1
  for (; step != end; ++step) visit<T, all_on>(panel, step->offset[0], step->value, sums);
  return step;
}

template <class T>
static GATENTK_INLINE void clear(Accumulators<T>& sums) {
  unrolled<group_rows * tile_vectors>([&](auto v)
                                          __attribute__((always_inline)) { sum_at<v.index>(sums) = Vector<T>{}; });
}

template <class T>
static GATENTK_INLINE void add_to_tile(const Accumulators<T>& sums, Vector<T>* tile, bool first) {
  unrolled<group_rows * tile_vectors>([&](auto v) __attribute__((always_inline)) {
    const Vector<T>& sum = static_cast<const Sums<T, v.index + 1>&>(sums).last;
    tile[v.index] = first ? sum : tile[v.index] + sum;
  });
}

// Single columns that are summed in one go, for accuracy where most gates are on. At 50% density there are about 25.
constexpr int longest_chain = 96;

// A k-block is summed on its own and then added to the tile: shorter chains of roundings than one running sum.
// Everything down to the accumulators is inlined: once they leave their registers the product is 2.4 times slower.
template <class T>
static void multiply(const T* panel_values, const std::byte* rows, T* tile, bool first) {
  const std::uint16_t* count = reinterpret_cast<const std::uint16_t*>(rows);
  const Step<T>* step = reinterpret_cast<const Step<T>*>(rows + visits_at);
  const std::byte* panel = reinterpret_cast<const std::byte*>(panel_values);
  Vector<T>* out = reinterpret_cast<Vector<T>*>(tile);
  Accumulators<T> sums;
  clear<T>(sums);
  step = visit_pairs<T, 1>(panel, step, count[1], sums);
  step = visit_pairs<T, 2>(panel, step, count[2], sums);
  step = visit_pairs<T, 3>(panel, step, count[3], sums);
  step = visit_pairs<T, 4>(panel, step, count[4], sums);
  step = visit_pairs<T, 5>(panel, step, count[5], sums);
  step = visit_pairs<T, 6>(panel, step, count[6], sums);
  step = visit_pairs<T, 7>(panel, step, count[7], sums);
  int singles = count[0];
  for (; singles > longest_chain; singles -= longest_chain) {
    add_to_tile<T>(sums, out, first);
    clear<T>(sums);
    first = false;
    step = visit_singles<T>(panel, step, longest_chain, sums);
  }
  visit_singles<T>(panel, step, singles, sums);
  add_to_tile<T>(sums, out, first);
}

// All columns in rising order, one fused multiply-add a step: the rounding of an element depends on nothing else.
template <class T>
static void multiply_ordered(const T* panel, const T* const* rows, std::int64_t columns, T* tile, bool first) {
  Accumulators<T> sums;
  Vector<T>* out = reinterpret_cast<Vector<T>*>(tile);
  unrolled<group_rows * tile_vectors>([&](auto v) __attribute__((always_inline)) {
    sum_at<v.index>(sums) = first ? Vector<T>{} : out[v.index];
  });
  const Vector<T>* from = reinterpret_cast<const Vector<T>*>(panel);
#pragma GCC unroll 1
  for (std::int64_t k = 0; k < columns; ++k, from += tile_vectors) {
    unrolled<group_rows>([&](auto r) __attribute__((always_inline)) {
      const Vector<T> factors = broadcast(rows[r.index][k]);
      unrolled<tile_vectors>([&](auto v) __attribute__((always_inline)) {
        Vector<T>& sum = sum_at<r.index * tile_vectors + v.index>(sums);
        sum = fused_multiply_add(factors, from[v.index], sum);
      });
    });
  }
  unrolled<group_rows * tile_vectors>([&](auto v)
                                          __attribute__((always_inline)) { out[v.index] = sum_at<v.index>(sums); });
}

// Where pack_rows stands in the lists that it reads and writes. Row r of column k is rows[r][k * stride].
template <class T>
struct PackCursor {
  const T* rows[group_rows];
  std::int64_t stride;
  const std::uint8_t* pattern;
  const std::uint8_t* index;
  Step<T>* step;
};

// The values of the rows of `pattern` on the next column. Without gates a row that is off holds a zero already.
template <class T, int pattern, bool gated>
static GATENTK_INLINE typename Step<T>::Offset pack_visit(PackCursor<T>& at, T* value) {
  const int k = *at.index++;
#pragma GCC unroll 4
  for (int r = 0; r < group_rows; ++r)
    if (pattern >> r & 1) *value++ = !gated || (at.pattern[k] >> r & 1) ? at.rows[r][k * at.stride] : T(0);
  return static_cast<typename Step<T>::Offset>(k * panel_row_bytes);
}

template <class T, int pattern, bool gated>
static GATENTK_INLINE void pack_pairs(PackCursor<T>& at, const std::uint16_t* count) {
  for (int i = 0; i < count[pattern]; ++i, ++at.step) {
    at.step->offset[0] = pack_visit<T, pattern, gated>(at, at.step->value);
    at.step->offset[1] = pack_visit<T, all_on - pattern, gated>(at, at.step->value + __builtin_popcount(pattern));
  }
}

// Values in visit order: the product then reads them as one sequential stream.
template <class T, bool gated>
static GATENTK_INLINE void pack_values(PackCursor<T>& at, const std::uint16_t* count) {
  pack_pairs<T, 1, gated>(at, count);
  pack_pairs<T, 2, gated>(at, count);
  pack_pairs<T, 3, gated>(at, count);
  pack_pairs<T, 4, gated>(at, count);
  pack_pairs<T, 5, gated>(at, count);
  pack_pairs<T, 6, gated>(at, count);
  pack_pairs<T, 7, gated>(at, count);
  for (int i = 0; i < count[0]; ++i, ++at.step)
    at.step->offset[0] = at.step->offset[1] = pack_visit<T, all_on, gated>(at, at.step->value);
}

template <class T>
static void pack_group(const RowsView<T>& source, std::int64_t i0, std::int64_t k0, const std::uint8_t* pattern,
                       const PlanBlock& plan, std::byte* out) {
  const int rows = rows_of_group(source.rows, i0);
  __builtin_memcpy(out, plan.count, sizeof plan.count);
  PackCursor<T> at{
      {}, source.transposed ? source.stride : 1, pattern, plan.index, reinterpret_cast<Step<T>*>(out + visits_at)};
  // A partial group borrows its first row's values for the missing rows; only gated packing then masks them.
  for (int r = 0; r < group_rows; ++r) at.rows[r] = source.at(i0 + (r < rows ? r : 0), k0);
  if (source.gates.bits || rows < group_rows)
    pack_values<T, true>(at, plan.count);
  else
    pack_values<T, false>(at, plan.count);
}

template <class T>
static void pack_rows(const RowsView<T>& source, std::int64_t i0, std::int64_t groups, std::int64_t k0,
                      std::int64_t columns, const PlanBlock* plan, std::int64_t plan_stride,
                      const PackedChunk& packed) {
  std::uint8_t patterns[chunk_groups * block_columns];
  PlanBlock own[chunk_groups];
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t i = i0 + g * group_rows;
    const int rows = rows_of_group(source.rows, i);
    if (source.gates.bits)
      patterns_from_gates(source.gates, source.transposed, i, rows, k0, columns, patterns + g * block_columns);
    else
      patterns_from_zeros(source, i, rows, k0, columns, patterns + g * block_columns);
  }
  if (!plan) plan_patterns(patterns, groups, columns, own, 1);
  for (std::int64_t g = 0; g < groups; ++g)
    pack_group(source, i0 + g * group_rows, k0, patterns + g * block_columns, plan ? plan[g * plan_stride] : own[g],
               packed.first + g * packed.stride);
}

// Lanes of `count` consecutive gates from bit `first` on, all ones where a gate is on.
template <class T>
static GATENTK_INLINE IntegerVector<T> gate_lanes(const std::uint8_t* bits, std::int64_t first) {
  typename Simd<T>::Integer word = bits[first / 8] >> (first % 8);
  if constexpr (Simd<T>::lanes > 8) word |= bits[first / 8 + 1] << 8;
  IntegerVector<T> lanes;
  for (int lane = 0; lane < Simd<T>::lanes; ++lane) lanes[lane] = 1 << lane;
  return (lanes & word) != 0;
}

// The rows of `source` lie side by side already.
template <class T>
static void pack_panel_from_columns(const RowsView<T>& source, std::int64_t j0, std::int64_t k0, std::int64_t columns,
                                    T* panel) {
  constexpr int lanes = Simd<T>::lanes;
  const std::int64_t left = source.rows - j0;
  for (std::int64_t k = 0; k < columns; ++k) {
    const T* from = source.at(j0, k0 + k);
    const std::uint8_t* bits = source.gates.bits ? source.gates.bits + (k0 + k) * source.gates.stride : nullptr;
    for (int v = 0; v < tile_vectors; ++v, panel += lanes) {
      Vector<T> values{};
      if ((v + 1) * lanes <= left)
        values = load(from + v * lanes);
      else
        for (int lane = 0; lane < lanes && v * lanes + lane < left; ++lane) values[lane] = from[v * lanes + lane];
      if (bits && v * lanes < left)
        values = (Vector<T>)((IntegerVector<T>)values & gate_lanes<T>(bits, j0 + v * lanes));
      store(panel, values);
    }
  }
}

// One row of `source` into every panel_columns-th element.
template <class T>
static void pack_panel_row(const T* row, const GateView& gates, std::int64_t j, std::int64_t k0, std::int64_t columns,
                           T* out) {
  constexpr int width = panel_columns<T>;
  if (!gates.bits) {
    for (std::int64_t k = 0; k < columns; ++k) out[k * width] = row[k];
    return;
  }
  const std::uint8_t* bits = gates.bits + j * gates.stride;
  for (std::int64_t k = 0; k < columns; ++k) out[k * width] = bits[(k0 + k) / 8] >> ((k0 + k) % 8) & 1 ? row[k] : T(0);
}

template <class T>
static void pack_panel(const RowsView<T>& source, std::int64_t j0, std::int64_t k0, std::int64_t columns, T* panel) {
  if (source.transposed) return pack_panel_from_columns(source, j0, k0, columns, panel);
  constexpr int width = panel_columns<T>, lanes = Simd<T>::lanes;
  for (int v = 0; v < tile_vectors; ++v) {
    const std::int64_t first = j0 + v * lanes;
    std::int64_t k = 0;
    if (first + lanes <= source.rows)
      for (; k + lanes <= columns; k += lanes) {
        Vector<T> square[lanes];
#pragma GCC unroll 16
        for (int r = 0; r < lanes; ++r) {
          square[r] = load(source.at(first + r, k0 + k));
          if (source.gates.bits)
            square[r] = (Vector<T>)((IntegerVector<T>)square[r] &
                                    gate_lanes<T>(source.gates.bits + (first + r) * source.gates.stride, k0 + k));
        }
        transpose<T>(square);
#pragma GCC unroll 16
        for (int r = 0; r < lanes; ++r) store(panel + (k + r) * width + v * lanes, square[r]);
      }
    for (int r = 0; r < lanes; ++r) {
      T* out = panel + k * width + v * lanes + r;
      if (first + r < source.rows)
        pack_panel_row(source.at(first + r, k0 + k), source.gates, first + r, k0 + k, columns - k, out);
      else
        for (std::int64_t rest = k; rest < columns; ++rest) out[(rest - k) * width] = 0;
    }
  }
}

template <class T>
static void multiply_add(const T* a, const T* b, double bias, double* sum, std::int64_t count, bool first) {
  if (first)
    for (std::int64_t i = 0; i < count; ++i) sum[i] = 0;
  if (b)
    for (std::int64_t i = 0; i < count; ++i) sum[i] += (double(a[i]) + bias) * double(b[i]);
  else
    for (std::int64_t i = 0; i < count; ++i) sum[i] += double(a[i]) + bias;
}

// Eight running sums: enough to hide the latency of the FMA, and as accurate as the tiles.
template <class T>
static T dot(const T* a, const T* b, std::int64_t count) {
  constexpr int lanes = Simd<T>::lanes, sums_count = 8;
  Sums<T, sums_count> sums;
  unrolled<sums_count>([&](auto v) __attribute__((always_inline)) { sum_at<v.index>(sums) = Vector<T>{}; });
  std::int64_t k = 0;
  for (; k + sums_count * lanes <= count; k += sums_count * lanes)
    unrolled<sums_count>([&](auto v) __attribute__((always_inline)) {
      sum_at<v.index>(sums) += load(a + k + v.index * lanes) * load(b + k + v.index * lanes);
    });
  Vector<T> total{};
  unrolled<sums_count>([&](auto v) __attribute__((always_inline)) { total += sum_at<v.index>(sums); });
  T rest = 0;
  for (; k < count; ++k) rest += a[k] * b[k];
  return horizontal_sum<T>(total) + rest;
}

template <class T>
static void write_row(const T* sums, std::int64_t columns, const std::uint8_t* bits, std::int64_t first, T* row) {
  constexpr int lanes = Simd<T>::lanes;
  std::int64_t c = 0;
  for (; c + lanes <= columns; c += lanes) {
    Vector<T> values = load(sums + c);
    if (bits) values = (Vector<T>)((IntegerVector<T>)values & gate_lanes<T>(bits, first + c));
    store(row + first + c, values);
  }
  for (; c < columns; ++c) row[first + c] = !bits || (bits[(first + c) / 8] >> ((first + c) % 8) & 1) ? sums[c] : T(0);
}

template <class T>
static ProductKernels<T> product_kernels() {
  return {panel_columns<T>,    sizeof(Step<T>), pack_panel<T>, pack_rows<T>,   multiply<T>,
          multiply_ordered<T>, dot<T>,          write_row<T>,  multiply_add<T>};
}

}  // namespace gatentk::GATENTK_ISA
