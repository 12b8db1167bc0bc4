#include "gatentk/gate_gram.hpp"

#include <vector>

#include "tiles.hpp"

namespace gatentk {

namespace {

// Rows of a tile of counts, which stays in L2 with its panel blocks (48 KB of counts on AVX2).
constexpr std::int64_t tile_rows = 128;
// Groups of four bits in a block: two fillings of the byte counters; 12 KB of a panel on AVX2.
constexpr std::int64_t block_nibbles = 126;

class GateGramRun {
 public:
  GateGramRun(const GateGram& problem, int threads)
      : problem_(problem),
        kernel_(kernels().bits),
        threads_(threads),
        nibbles_(2 * problem.row_bytes),
        groups_(ceil_div(problem.row_count, group_rows)),
        panels_(ceil_div(problem.column_count, kernel_.gate_panel_columns)),
        left_(static_cast<std::size_t>(groups_ * nibbles_ * group_rows)),
        right_(static_cast<std::size_t>(panels_ * nibbles_ * kernel_.gate_panel_columns)) {
    for (int t = 0; t < threads; ++t) tiles_.emplace_back(static_cast<std::size_t>(tile_rows * columns()));
  }

  void run() {
    parallel_for(groups_, threads_, [&](std::int64_t g, int) {
      spread(problem_.rows, problem_.row_count, g * group_rows, group_rows, left_.get() + g * nibbles_ * group_rows);
    });
    parallel_for(panels_, threads_, [&](std::int64_t p, int) {
      spread(problem_.columns, problem_.column_count, p * columns(), columns(),
             right_.get() + p * nibbles_ * columns());
    });
    const std::int64_t spans = ceil_div(problem_.row_count, tile_rows);
    parallel_for(spans * panels_, threads_, [&](std::int64_t task, int thread) {
      const std::int64_t row0 = task / panels_ * tile_rows, column0 = task % panels_ * columns();
      PanelExtent extent{row0, std::min(tile_rows, problem_.row_count - row0), column0,
                         std::min<std::int64_t>(columns(), problem_.column_count - column0)};
      if (problem_.symmetric) extent.rows = std::min(extent.rows, column0 + extent.columns - row0);
      if (extent.rows > 0) count(extent, tiles_[thread].get());
    });
  }

 private:
  std::int64_t columns() const { return kernel_.gate_panel_columns; }

  // Rows first..first+step of the bits, four bits a byte: out[nibble][step], zero beyond the last row.
  void spread(const GateView& gates, std::int64_t rows, std::int64_t first, std::int64_t step,
              std::uint8_t* out) const {
    for (std::int64_t r = 0; r < step; ++r) {
      const bool valid = first + r < rows;
      const std::uint8_t* bits = gates.bits + (valid ? (first + r) * gates.stride : 0);
      for (std::int64_t b = 0; b < problem_.row_bytes; ++b) {
        const std::uint8_t byte = valid ? bits[b] : 0;
        out[2 * b * step + r] = byte & 15;
        out[(2 * b + 1) * step + r] = byte >> 4;
      }
    }
  }

  void count(const PanelExtent& extent, std::int32_t* tile) const {
    std::fill_n(tile, extent.groups() * group_rows * columns(), 0);
    const std::uint8_t* panel = right_.get() + extent.column0 * nibbles_;
    for (std::int64_t k = 0; k < nibbles_; k += block_nibbles)
      for (std::int64_t g = 0; g < extent.groups(); ++g)
        kernel_.gate_gram(left_.get() + ((extent.row0 / group_rows + g) * nibbles_ + k) * group_rows,
                          panel + k * columns(), std::min(block_nibbles, nibbles_ - k),
                          tile + g * group_rows * columns());
    write_panel(extent, problem_.symmetric, problem_.symmetric, tile, columns(), problem_.out, problem_.column_count);
  }

  const GateGram& problem_;
  const BitKernels& kernel_;
  int threads_;
  std::int64_t nibbles_, groups_, panels_;
  Buffer<std::uint8_t> left_, right_;
  std::vector<Buffer<std::int32_t>> tiles_;
};

}  // namespace

void gate_gram(const GateGram& problem, int threads) {
  if (!problem.row_count || !problem.column_count) return;
  advise_huge_pages(problem.out, static_cast<std::size_t>(problem.row_count * problem.column_count) * 4);
  GateGramRun(problem, threads).run();
}

}  // namespace gatentk
