#include "cpu/gate_gram.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "cpu/pack_bits.hpp"
#include "cpu/tile_walk.hpp"

namespace gatentk::cpu {

namespace {

// Groups of rows that go through a panel together: their lists (80 KB at width 4096 on AVX2) and sums (50 KB) stay in
// L2, and each block of a panel in L1.
constexpr std::int64_t tile_groups = 8;
constexpr std::int64_t tile_rows = tile_groups * group_rows;

int digits(std::int64_t number) {
  int count = 0;
  for (; number > 0; number /= 2) ++count;
  return count;
}

class GateGramDriver {
 public:
  GateGramDriver(const GateGram& problem, int threads)
      : problem_(problem),
        kernel_(kernels().gate_gram),
        threads_(threads),
        columns_(kernel_.panel_columns),
        vector_bytes_(columns_ / 8),
        block_bytes_(kernel_.block_neurons / 8),
        blocks_(ceil_div(problem.row_bytes, block_bytes_)),
        panels_(ceil_div(problem.column_count, columns_)),
        plane_count_(std::max(7, digits(8 * problem.row_bytes))),
        panel_memory_(static_cast<std::size_t>(panels_ * blocks_ * panel_stride())),
        no_row_(static_cast<std::size_t>(problem.row_bytes)) {
    std::fill_n(no_row_.get(), problem.row_bytes, std::uint8_t{0});
    for (int t = 0; t < threads; ++t) scratch_.emplace_back(blocks_, sums_stride(), tile_stride());
  }

  void run() {
    parallel_for(panels_ * blocks_, threads_, [&](std::int64_t task, int) { pack(task / blocks_, task % blocks_); });
    parallel_for(ceil_div(problem_.row_count, tile_rows), threads_,
                 [&](std::int64_t down, int thread) { count(down * tile_rows, scratch_[thread]); });
  }

 private:
  struct Scratch {
    Scratch(std::int64_t blocks, std::int64_t sums_stride, std::int64_t tile_stride)
        : lists(static_cast<std::size_t>(blocks * tile_groups)),
          sums(static_cast<std::size_t>(tile_groups * sums_stride)),
          tile(static_cast<std::size_t>(tile_rows * tile_stride)) {}
    Buffer<GateLists> lists;  // [blocks][tile_groups]
    Buffer<std::byte> sums;   // [tile_groups][sums_stride]
    Buffer<std::int32_t> tile;
  };

  std::int64_t panel_stride() const { return gate_block_bytes + vector_bytes_; }
  std::int64_t sums_stride() const { return all_on * plane_count_ * vector_bytes_; }
  // A cache line more than a power of two: a column of a tile would lie in four of 64 sets of L1.
  std::int64_t tile_stride() const { return columns_ + 16; }
  std::byte* panel(std::int64_t p, std::int64_t b) const {
    return panel_memory_.get() + (p * blocks_ + b) * panel_stride();
  }
  std::int64_t bytes_of(std::int64_t b) const { return std::min(block_bytes_, problem_.row_bytes - b * block_bytes_); }

  void pack(std::int64_t p, std::int64_t b) const {
    const std::int64_t first = p * columns_;
    std::byte* out = panel(p, b);
    const GateView& bits = problem_.columns;
    transpose_bits({bits.bits + first * bits.stride + b * block_bytes_, bits.stride,
                    std::min(columns_, problem_.column_count - first), 8 * bytes_of(b),
                    reinterpret_cast<std::uint8_t*>(out), vector_bytes_},
                   1);
    std::fill_n(out + gate_block_bytes, vector_bytes_, std::byte{0});
  }

  void make_lists(std::int64_t row0, std::int64_t groups, GateLists* lists) const {
    for (std::int64_t b = 0; b < blocks_; ++b)
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::uint8_t* rows[group_rows];
        for (std::int64_t r = 0, i = row0 + g * group_rows; r < group_rows; ++r, ++i)
          rows[r] = (i < problem_.row_count ? problem_.rows.bits + i * problem_.rows.stride : no_row_.get()) +
                    b * block_bytes_;
        kernel_.make_lists(rows, bytes_of(b), lists + b * tile_groups + g);
      }
  }

  void count(std::int64_t row0, Scratch& scratch) const {
    const std::int64_t rows = std::min(tile_rows, problem_.row_count - row0), groups = ceil_div(rows, group_rows);
    make_lists(row0, groups, scratch.lists.get());
    for (std::int64_t p = problem_.symmetric ? row0 / columns_ : 0; p < panels_; ++p) {
      std::byte* sums = scratch.sums.get();
      std::fill_n(sums, groups * sums_stride(), std::byte{0});
      for (std::int64_t b = 0; b < blocks_; ++b)
        for (std::int64_t g = 0; g < groups; ++g)
          kernel_.add_lists(panel(p, b), scratch.lists.get()[b * tile_groups + g], plane_count_,
                            sums + g * sums_stride());
      for (std::int64_t g = 0; g < groups; ++g)
        kernel_.read_counts(sums + g * sums_stride(), plane_count_, scratch.tile.get() + g * group_rows * tile_stride(),
                            tile_stride());
      const PanelExtent extent{row0, rows, p * columns_, std::min(columns_, problem_.column_count - p * columns_)};
      write_panel(extent, problem_.symmetric, problem_.symmetric, scratch.tile.get(), tile_stride(), problem_.out,
                  problem_.column_count);
    }
  }

  const GateGram& problem_;
  const GateGramKernels& kernel_;
  int threads_;
  std::int64_t columns_, vector_bytes_, block_bytes_, blocks_, panels_;
  std::int64_t plane_count_;
  Buffer<std::byte> panel_memory_;
  Buffer<std::uint8_t> no_row_;
  std::vector<Scratch> scratch_;
};

}  // namespace

void gate_gram(const GateGram& problem, int threads) {
  if (!problem.row_count || !problem.column_count) return;
  advise_huge_pages(problem.out, static_cast<std::size_t>(problem.row_count * problem.column_count) * 4);
  GateGramDriver(problem, threads).run();
}

}  // namespace gatentk::cpu
