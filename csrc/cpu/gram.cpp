#include "cpu/gram.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/tile_walk.hpp"

namespace gatentk::cpu {

namespace {

// Rows of a tile: 32 groups amortise loading a panel block (18 KB) into L1.
constexpr std::int64_t tile_rows = 128;
// Sums of a tile (two products and their total) that may lie in L2 beside the packed rows of a k-block. In float64 two
// panels of AVX-512 fit, so that packed rows come from L3 half as often.
template <class T>
constexpr std::int64_t tile_budget = (sizeof(T) == sizeof(double) ? 320 : 200) << 10;
// Tiles that a thread should get, so that none waits long for the last.
constexpr std::int64_t tiles_per_thread = 4;
// Packed rows of all terms that are held at once.
constexpr std::int64_t row_budget = std::int64_t{128} << 20;
// Packed panels of as many terms as fit are held at once. In float64, whose result keeps the sum of the terms before to
// the bit, a few megabytes are best, as what all cores read then stays in L3: 10 terms of 500 rows, width 512, take a
// quarter less time one by one. In float32 the result is touched once for all of them, as rounding in between would
// cost digits.
template <class T>
constexpr std::int64_t panel_budget = std::int64_t{sizeof(T) == sizeof(double) ? 4 : 512} << 20;

template <class T>
struct PackedFactor {
  RowStore<T> rows;
  PanelStore<T> panels;

  PackedFactor(const Factor<T>& factor, const ProductKernels<T>& kernels, std::int64_t batch_rows)
      : rows(factor.rows, kernels, ceil_div(batch_rows, group_rows)), panels(factor.columns, kernels) {}
};

template <class T>
struct PackedTerm {
  std::unique_ptr<PackedFactor<T>> act, delta;  // delta is null where it is all ones
  double bias;
};

template <class T>
struct ThreadTiles {
  Buffer<T> act, delta;
  Buffer<double> sum;

  explicit ThreadTiles(std::size_t count) : act(count), delta(count), sum(count) {}
};

template <class T>
class GramDriver {
 public:
  GramDriver(const GramProblem<T>& problem, int threads)
      : problem_(problem), kernels_(product_kernels<T>(kernels())), threads_(threads) {
    const std::int64_t panel = tile_rows * kernels_.panel_columns * std::int64_t{2 * sizeof(T) + sizeof(double)};
    tile_panels_ = std::max<std::int64_t>(1, tile_budget<T> / panel);
    while (tile_panels_ > 1 && tiles() < tiles_per_thread * threads) --tile_panels_;
    for (int t = 0; t < threads; ++t)
      tiles_.emplace_back(static_cast<std::size_t>(tile_panels_ * tile_rows * kernels_.panel_columns));
  }

  void run() {
    const std::int64_t count = static_cast<std::int64_t>(problem_.terms.size());
    for (std::int64_t begin = 0, end = 0; begin < count; begin = end) {
      std::int64_t bytes = 0;
      for (end = begin; end < count; ++end) {
        bytes += panel_bytes(problem_.terms[end]);
        if (end > begin && bytes > panel_budget<T>) break;
      }
      add_terms(begin, end, begin > 0, end == count);
    }
  }

 private:
  // About as many as there are.
  std::int64_t tiles() const {
    const std::int64_t all =
        ceil_div(problem_.rows, tile_rows) * ceil_div(problem_.columns, tile_panels_ * kernels_.panel_columns);
    return problem_.symmetric ? all / 2 : all;
  }

  std::int64_t panel_bytes(const GramTerm<T>& term) const {
    return problem_.columns * (term.act.columns.width + term.delta.columns.width) * std::int64_t{sizeof(T)};
  }

  void add_terms(std::int64_t begin, std::int64_t end, bool accumulate, bool last) {
    const Blocking blocking = blocking_of(begin, end);
    std::vector<PackedTerm<T>> terms;
    std::vector<PackedFactor<T>*> factors;
    for (std::int64_t t = begin; t < end; ++t) {
      const GramTerm<T>& term = problem_.terms[t];
      PackedTerm<T> packed{std::make_unique<PackedFactor<T>>(term.act, kernels_, blocking.batch_rows), nullptr,
                           term.bias};
      factors.push_back(packed.act.get());
      if (term.delta.rows.width) {
        packed.delta = std::make_unique<PackedFactor<T>>(term.delta, kernels_, blocking.batch_rows);
        factors.push_back(packed.delta.get());
      }
      terms.push_back(std::move(packed));
    }
    const std::int64_t panels = ceil_div(problem_.columns, kernels_.panel_columns);
    for_each_tile(
        blocking, threads_, panels * static_cast<std::int64_t>(factors.size()),
        [&](std::int64_t index) { factors[index / panels]->panels.pack(index % panels); },
        [&](std::int64_t group, std::int64_t i0) {
          for (PackedFactor<T>* factor : factors) factor->rows.pack(group, i0);
        },
        [&](const TileExtent& extent, int thread) {
          compute_tile(terms, extent, tiles_[thread], accumulate, problem_.symmetric && last);
        });
  }

  Blocking blocking_of(std::int64_t begin, std::int64_t end) const {
    std::int64_t row_bytes = 0;
    for (std::int64_t t = begin; t < end; ++t)
      for (const std::int64_t width : {problem_.terms[t].act.rows.width, problem_.terms[t].delta.rows.width})
        row_bytes += RowStore<T>::row_bytes(width, kernels_);
    Blocking blocking{problem_.rows, problem_.columns,      problem_.symmetric, tile_rows, 0,
                      tile_panels_,  kernels_.panel_columns};
    blocking.fit(row_bytes, row_budget);
    return blocking;
  }

  void compute_tile(const std::vector<PackedTerm<T>>& terms, const TileExtent& extent, ThreadTiles<T>& tiles,
                    bool accumulate, bool mirror) const {
    const std::int64_t count = extent.panels * extent.blocking.panel_size();
    if (accumulate) read_previous(extent, tiles.sum.get());
    for (const PackedTerm<T>& term : terms) {
      multiply_tile(term.act->rows, term.act->panels, extent, kernels_, tiles.act.get());
      if (term.delta) multiply_tile(term.delta->rows, term.delta->panels, extent, kernels_, tiles.delta.get());
      kernels_.multiply_add(tiles.act.get(), term.delta ? tiles.delta.get() : nullptr, term.bias, tiles.sum.get(),
                            count, !accumulate && &term == &terms.front());
    }
    T* result = tiles.act.get();
    for (std::int64_t e = 0; e < count; ++e) result[e] = static_cast<T>(tiles.sum.get()[e]);
    for (std::int64_t i = 0; i < extent.panels; ++i) {
      const PanelExtent panel = extent.panel(i);
      T* values = result + i * extent.blocking.panel_size();
      write_panel(panel, problem_.symmetric, mirror, values, kernels_.panel_columns, problem_.out, problem_.out_stride);
    }
  }

  void read_previous(const TileExtent& extent, double* sum) const {
    for (std::int64_t i = 0; i < extent.panels; ++i) {
      const PanelExtent panel = extent.panel(i);
      double* tile = sum + i * extent.blocking.panel_size();
      std::fill_n(tile, extent.blocking.panel_size(), 0.0);
      for (std::int64_t r = 0; r < panel.rows; ++r) {
        const T* row = problem_.out + (panel.row0 + r) * problem_.out_stride + panel.column0;
        for (std::int64_t c = 0; c < panel.columns; ++c) tile[r * kernels_.panel_columns + c] = row[c];
      }
    }
  }

  const GramProblem<T>& problem_;
  const ProductKernels<T>& kernels_;
  int threads_;
  std::int64_t tile_panels_;
  std::vector<ThreadTiles<T>> tiles_;
};

}  // namespace

template <class T>
void gram(const GramProblem<T>& problem, int threads) {
  if (!problem.rows || !problem.columns) return;
  advise_huge_pages(problem.out, static_cast<std::size_t>(problem.rows * problem.out_stride) * sizeof(T));
  GramDriver<T>(problem, threads).run();
}

template void gram(const GramProblem<float>&, int);
template void gram(const GramProblem<double>&, int);

}  // namespace gatentk::cpu
