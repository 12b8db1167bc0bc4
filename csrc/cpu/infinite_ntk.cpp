#include "cpu/infinite_ntk.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "cpu/sample_layers.hpp"
#include "cpu/tile_walk.hpp"

namespace gatentk::cpu {

namespace {

// Rows per tile: the tiles of eleven depths (64 x 12 doubles each) stay in L2, a mirrored run is 512 bytes.
constexpr std::int64_t tile_rows = 64;
constexpr std::int64_t tile_panels = 4;
constexpr std::int64_t row_budget = std::int64_t{64} << 20;

// Eight sums beside each other: of wide rows one alone would be off by several ulp.
template <class T>
double squared_norm(const T* row, std::int64_t width) {
  constexpr int count = 8;
  double sums[count] = {};
  std::int64_t k = 0;
  for (; k + count <= width; k += count)
    for (int c = 0; c < count; ++c) sums[c] += static_cast<double>(row[k + c]) * row[k + c];
  for (int c = 0; k < width; ++k, ++c) sums[c] += static_cast<double>(row[k]) * row[k];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// |x_i| and 1/|x_i|, padded with ones to whole groups or panels; both 0 of a row of zeros.
template <class T>
struct Norms {
  std::vector<T> norm, inverse;
  std::vector<double> squared;

  Norms(const RowsView<T>& samples, std::int64_t padded_rows) : norm(padded_rows, T(1)), inverse(padded_rows, T(1)) {
    squared.resize(samples.rows);
    for (std::int64_t i = 0; i < samples.rows; ++i) {
      const double sum = squared_norm(samples.row(i), samples.width);
      squared[i] = sum;
      norm[i] = static_cast<T>(std::sqrt(sum));
      inverse[i] = static_cast<T>(sum > 0 ? 1 / std::sqrt(sum) : sum);  // NaN stays
    }
  }
};

template <class T>
class InfiniteDriver {
 public:
  InfiniteDriver(const InfiniteProblem<T>& problem, int threads)
      : problem_(problem),
        product_(product_kernels<T>(kernels())),
        infinite_(infinite_kernels<T>(kernels())),
        threads_(threads),
        blocking_(blocking_of(problem, product_)),
        outputs_(problem.outputs()),
        rows_(problem.x, product_, ceil_div(blocking_.batch_rows, group_rows)),
        panels_(problem.z, product_),
        x_norms_(problem.x, ceil_div(problem.x.rows, group_rows) * group_rows),
        z_norms_(problem.z, panels_.panels() * product_.panel_columns) {
    const std::int64_t tile = blocking_.panel_size();
    const std::int64_t levels = 4 * (problem.depths.back() + 1) * product_.panel_columns;
    for (int t = 0; t < threads; ++t) {
      gram_.emplace_back(static_cast<std::size_t>(tile * blocking_.tile_panels));
      result_.emplace_back(static_cast<std::size_t>(tile * outputs_));
      if (problem.quantity == Quantity::relu_components) scratch_.emplace_back(static_cast<std::size_t>(levels));
    }
    if (of_network(problem.quantity)) add_network();
  }

  void run() {
    for_each_tile(
        blocking_, threads_, panels_.panels(), [&](std::int64_t p) { panels_.pack(p); },
        [&](std::int64_t group, std::int64_t i0) { rows_.pack(group, i0); },
        [&](const TileExtent& extent, int thread) { compute_tile(extent, thread); });
    if (problem_.symmetric) set_diagonals();
  }

 private:
  static Blocking blocking_of(const InfiniteProblem<T>& problem, const ProductKernels<T>& product) {
    Blocking blocking{problem.x.rows, problem.z.rows,       problem.symmetric, tile_rows, 0,
                      tile_panels,    product.panel_columns};
    blocking.fit(RowStore<T>::row_bytes(problem.x.width, product), row_budget);
    return blocking;
  }

  void compute_tile(const TileExtent& extent, int thread) const {
    multiply_tile(rows_, panels_, extent, product_, gram_[thread].get());
    for (std::int64_t i = 0; i < extent.panels; ++i)
      compute_panel(extent.panel(i), gram_[thread].get() + i * blocking_.panel_size(), thread);
  }

  void compute_panel(const PanelExtent& extent, const T* gram, int thread) const {
    PairTile<T> tile{};
    tile.quantity = problem_.quantity;
    tile.depths = problem_.depths.data();
    tile.depth_count = static_cast<int>(problem_.depths.size());
    tile.rows = extent.rows;
    tile.columns = extent.columns;
    tile.row0 = extent.row0;
    tile.column0 = extent.column0;
    tile.symmetric = problem_.symmetric;
    tile.gram = gram;
    tile.row_norm = x_norms_.norm.data() + extent.row0;
    tile.row_inverse = x_norms_.inverse.data() + extent.row0;
    tile.row_squared = x_norms_.squared.data() + extent.row0;
    tile.column_norm = z_norms_.norm.data() + extent.column0;
    tile.column_inverse = z_norms_.inverse.data() + extent.column0;
    tile.x = problem_.x;
    tile.z = problem_.z;
    tile.network = network_;
    if (network_.rows) {
      tile.network.rows += extent.row0;
      tile.network.columns += extent.column0;
    }
    if (!scratch_.empty()) tile.scratch = scratch_[thread].get();
    tile.out = result_[thread].get();
    tile.out_rows = blocking_.tile_rows;
    infinite_.pairs(tile);
    write_outputs(extent, tile.out);
  }

  // Not inlined: between the fields of a tile its loops take a sixth longer, 5% of a kernel of depth 1.
  __attribute__((noinline)) void write_outputs(const PanelExtent& extent, const T* panel) const {
    for (std::int64_t o = 0; o < outputs_; ++o)
      write_panel(extent, problem_.symmetric, problem_.symmetric, panel + o * blocking_.panel_size(),
                  product_.panel_columns, problem_.out + o * problem_.out_slice, problem_.out_stride);
  }

  void add_network() {
    const std::int64_t columns = panels_.panels() * product_.panel_columns;
    const std::int64_t padded = std::max(columns, ceil_div(problem_.x.rows, group_rows) * group_rows);
    x_layers_.emplace(problem_, problem_.x, padded, threads_);
    if (!problem_.symmetric) z_layers_.emplace(problem_, problem_.z, columns, threads_);
    const SampleLayers<T>& z = problem_.symmetric ? *x_layers_ : *z_layers_;
    network_ = network_tile(problem_, *x_layers_, z, levels_);
    network_.rows = x_layers_->table();
    network_.columns = z.table();
  }

  // A sample and itself: known exactly, from the squared norm rather than from a square of its root.
  void set_diagonals() const {
    for (std::int64_t o = 0; o < outputs_; ++o) {
      if (x_layers_) {
        for (std::int64_t i = 0; i < problem_.x.rows; ++i)
          problem_.out[o * problem_.out_slice + i * (problem_.out_stride + 1)] = x_layers_->diagonal(o, i);
        continue;
      }
      if (problem_.quantity == Quantity::relu && problem_.depths[o] == 0) continue;  // the Gram matrix as it is
      const std::int64_t depth = problem_.depths[by_layer(problem_.quantity) ? 0 : o];
      const double factor = diagonal_factor(problem_.quantity, static_cast<double>(depth));
      for (std::int64_t i = 0; i < problem_.x.rows; ++i)
        problem_.out[o * problem_.out_slice + i * (problem_.out_stride + 1)] =
            static_cast<T>(factor * x_norms_.squared[i]);
    }
  }

  const InfiniteProblem<T>& problem_;
  const ProductKernels<T>& product_;
  const InfiniteKernels<T>& infinite_;
  int threads_;
  Blocking blocking_;
  std::int64_t outputs_;
  RowStore<T> rows_;
  PanelStore<T> panels_;
  Norms<T> x_norms_, z_norms_;
  std::vector<Buffer<T>> gram_, result_, scratch_;
  std::optional<SampleLayers<T>> x_layers_, z_layers_;
  std::vector<std::uint8_t> levels_;
  NetworkTile<T> network_{};
};

}  // namespace

template <class T>
void infinite_ntk(const InfiniteProblem<T>& problem, int threads) {
  if (!problem.x.rows || !problem.z.rows || problem.depths.empty()) return;
  InfiniteDriver<T> driver(problem, threads);
  for (std::int64_t o = 0; o < problem.outputs(); ++o)
    advise_huge_pages(problem.out + o * problem.out_slice,
                      static_cast<std::size_t>(problem.x.rows * problem.out_stride) * sizeof(T));
  driver.run();
}

template void infinite_ntk(const InfiniteProblem<float>&, int);
template void infinite_ntk(const InfiniteProblem<double>&, int);

}  // namespace gatentk::cpu
