// Function tables of the kernels, one per instruction set; the drivers call through the active one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/block_tile.hpp"
#include "cpu/few_rows.hpp"
#include "cpu/gate_lists.hpp"
#include "cpu/plan.hpp"
#include "gatentk/quantities.hpp"
#include "gatentk/views.hpp"

namespace gatentk::cpu {

// A chunk of groups of rows in one k-block, ready to be multiplied, one group every `stride` bytes: how many visits
// ([runs], see PlanBlock), and from visits_at on, for each step, where its one or two columns lie in the panel and
// the values of their rows.
struct PackedChunk {
  std::byte* first;
  std::int64_t stride;
};
constexpr int visits_at = 64;

// Products whose left factor is masked, in micro-tiles of group_rows x panel_columns.
template <class T>
struct ProductKernels {
  int panel_columns;
  int step_bytes;  // of a step in a packed group
  // panel[k][j] = element (j0 + j, k0 + k) of `source`, zero beyond its rows.
  void (*pack_panel)(const RowsView<T>& source, std::int64_t j0, std::int64_t k0, std::int64_t columns, T* panel);
  // `groups` groups of four rows (fewer at the end) from i0 on, columns k0..k0+columns; the mask is the gates, or else
  // the exact zeros. `plan`, if not null, is what plan_chunk makes of the gates, a block every `plan_stride`. Whether
  // all of them stay inside the columns and the room of a group; if not, what was packed is of no use.
  bool (*pack_rows)(const RowsView<T>& source, std::int64_t i0, std::int64_t groups, std::int64_t k0,
                    std::int64_t columns, const PlanBlock* plan, std::int64_t plan_stride, const PackedChunk& packed);
  // The micro-kernel: micro_tile[4][panel_columns] = or += rows (a packed group) times panel.
  void (*multiply)(const T* panel, const std::byte* rows, T* micro_tile, bool first);
  // The same of rows as they are, all columns in rising order, each step one fused multiply-add.
  void (*multiply_ordered)(const T* panel, const T* const* rows, std::int64_t columns, T* micro_tile, bool first);
  // Sum of a[k] b[k].
  T (*dot)(const T* a, const T* b, std::int64_t count);
  // row[first + c] = sums[c] for c < columns, or 0 where bit first + c of `bits` (if not null) is 0.
  void (*write_row)(const T* sums, std::int64_t columns, const std::uint8_t* bits, std::int64_t first, T* row);
  // sum[i] = or += (a[i] + bias) * b[i], in double; b may be null (then 1).
  void (*multiply_add)(const T* a, const T* b, double bias, double* sum, std::int64_t count, bool first);
  // out[c] = or += sum of factors[r] * rows[r][c] over r < count <= most_combined.
  void (*combine_rows)(const T* const* rows, const T* factors, int count, std::int64_t columns, T* out, bool add);
  void (*outer_products)(const OuterProducts<T>& problem);
};

// What the layers of a network ask of the samples: a slice of a table has network_fields arrays of a number for each
// sample, see gatentk/sample_layers.hpp.
template <class T>
struct NetworkTile {
  double first;                          // as in Network
  double keep;                           // 1, or 0 for a covariance: the share of earlier layers in the kernel
  double bend;                           // (1 - slope)^2 / (1 + slope^2)
  double gain;                           // weight (1 + slope^2) / 2
  bool biased;                           // whether there are tables: not of a piecewise linear activation with bias 0
  bool turns;                            // embeddings of hidden layers may be more than pi/2 apart
  const std::uint8_t* levels;            // polynomials of a layer
  const T *rows, *columns;               // tables at row0 and column0
  std::int64_t row_pitch, column_pitch;  // elements from array to array
};

// A tile of pairs (i, j) of the infinite-width kernels: `rows` rows of panel_columns pairs.
template <class T>
struct PairTile {
  Quantity quantity;
  const std::int64_t* depths;  // rising; of quantities by layer: one depth
  int depth_count;
  std::int64_t rows, columns;  // valid extent of the tile; rows are padded to a multiple of group_rows
  std::int64_t row0, column0;  // of its first pair, in x and z
  bool symmetric;              // z is x: pairs with j <= i are not needed
  const T* gram;               // [rows][panel_columns]
  const T* row_norm;           // |x_i|, at row0
  const T* row_inverse;        // 1/|x_i|
  const double* row_squared;   // |x_i|^2
  const T* column_norm;        // |z_j|, at column0, padded to panel_columns
  const T* column_inverse;     // 1/|z_j|
  RowsView<T> x, z;            // samples, for pairs that are close
  NetworkTile<T> network;      // of quantities that have one
  T* scratch;                  // 4 * (depth + 1) * panel_columns elements
  T* out;                      // [outputs][out_rows][panel_columns]
  std::int64_t out_rows;
};

template <class T>
struct InfiniteKernels {
  void (*pairs)(const PairTile<T>& tile);
};

// One row: `width` bytes (0 or not 0) to packed bits, LSB first, and back to 0 / 1.
struct BitKernels {
  void (*pack)(const std::uint8_t* mask, std::int64_t width, std::uint8_t* bits);
  void (*unpack)(const std::uint8_t* bits, std::int64_t width, std::uint8_t* mask);
};

struct PlanKernels {
  // The order of visits for `groups` groups from row i0 on, columns k0..k0+columns; see RowsView for `transposed`.
  void (*plan_chunk)(const GateView& gates, bool transposed, std::int64_t rows, std::int64_t i0, std::int64_t groups,
                     std::int64_t k0, std::int64_t columns, PlanBlock* plan, std::int64_t plan_stride);
};

// Counts of neurons that four rows have on in common with each of panel_columns others. A panel block holds the others'
// bits transposed, block_neurons vectors and one of zeros.
struct GateGramKernels {
  int panel_columns;
  int block_neurons;
  // The lists of a block from `bytes` bytes of four rows.
  void (*make_lists)(const std::uint8_t* const* rows, std::int64_t bytes, GateLists* lists);
  // Adds the vectors of each list to the sum of its pattern: sums[15][plane_count] are numbers in bit slices, a vector
  // for each binary digit; plane_count is at least 7 and enough for the count.
  void (*add_lists)(const std::byte* panel, const GateLists& lists, std::int64_t plane_count, std::byte* sums);
  // counts[4][panel_columns], rows `stride` apart, of the sums, which are overwritten.
  void (*read_counts)(std::byte* sums, std::int64_t plane_count, std::int32_t* counts, std::int64_t stride);
};

// Products with gates of blocks of neurons, by tiles of the weight; see block_tile.hpp.
template <class T>
struct BlockKernels {
  int lanes;  // rows of tiles and of sums are filled up to a multiple of it
  // tile[k][c] = weight[k][c], or weight[c][k] if it is transposed.
  void (*pack_tile)(const T* weight, std::int64_t stride, bool transposed, std::int64_t depth, std::int64_t columns,
                    T* tile);
  void (*multiply_tile)(const BlockTile<T>& tile, const std::int32_t* ids, std::int64_t count, const Needs& needs);
  // A single sample: out[r] = sum over all segments of z times row r of the weight.
  void (*dot_segments)(const T* z, const Segment* segments, std::int64_t count, const T* weight, std::int64_t stride,
                       std::int64_t rows, T* out);
  void (*add_products)(const BlockGradientTile<T>& tile, const std::int32_t* ids, std::int64_t count,
                       const Needs& needs);
  // Numbers of the bits that are set in both, with room for 16 more behind them; returns how many.
  std::int64_t (*list_common)(const std::uint64_t* a, const std::uint64_t* b, std::int64_t words, std::int32_t* ids);
};

struct KernelTable {
  const char* isa;
  int vector_bytes;
  ProductKernels<float> product_f32;
  ProductKernels<double> product_f64;
  InfiniteKernels<float> infinite_f32;
  InfiniteKernels<double> infinite_f64;
  BitKernels bits;
  PlanKernels plan;
  GateGramKernels gate_gram;
  BlockKernels<float> block_f32;
  BlockKernels<double> block_f64;
  std::uint64_t (*checksum_of_block)(const std::uint8_t* data, std::int64_t bytes);  // see checksum.hpp
  double (*multiply_adds_f32)(std::int64_t rounds);  // see peak.hpp; return the operations done
  double (*multiply_adds_f64)(std::int64_t rounds);
};

template <class T>
const ProductKernels<T>& product_kernels(const KernelTable& table);
template <>
inline const ProductKernels<float>& product_kernels(const KernelTable& table) {
  return table.product_f32;
}
template <>
inline const ProductKernels<double>& product_kernels(const KernelTable& table) {
  return table.product_f64;
}

template <class T>
const InfiniteKernels<T>& infinite_kernels(const KernelTable& table);
template <>
inline const InfiniteKernels<float>& infinite_kernels(const KernelTable& table) {
  return table.infinite_f32;
}
template <>
inline const InfiniteKernels<double>& infinite_kernels(const KernelTable& table) {
  return table.infinite_f64;
}

template <class T>
const BlockKernels<T>& block_kernels(const KernelTable& table);
template <>
inline const BlockKernels<float>& block_kernels(const KernelTable& table) {
  return table.block_f32;
}
template <>
inline const BlockKernels<double>& block_kernels(const KernelTable& table) {
  return table.block_f64;
}

// The table in use: the best one that this processor runs, or the one that GATENTK_ISA or select_isa named.
const KernelTable& kernels();

// Names of the tables that this build has and this processor can run, best first; "wide" is the blocking of the
// widest instruction set in portable instructions, so that its code paths are tested everywhere. Null-terminated.
const char* const* available_isas();

// Switches the table for the whole process; throws std::invalid_argument for a name that is not available.
void select_isa(const char* name);

}  // namespace gatentk::cpu
