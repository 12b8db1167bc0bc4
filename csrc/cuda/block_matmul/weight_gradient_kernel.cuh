// Weight gradients of layers whose gates blocks of neighbouring neurons share: a pair of units sums over the samples
// that are on in both.
#pragma once

#include <cstdint>

#include "cuda/block_matmul/weight_gradient_configurations.hpp"
#include "cuda/block_matmul/weight_gradient_list.cuh"
#include "cuda/tile/multiply.cuh"
#include "cuda/tile/order.cuh"
#include "cuda/tile/store.cuh"

namespace gatentk::cuda {

// A factor stored with a row for each sample.
template <class T>
struct SampleRows {
  const T* data;
  int stride;              // bytes between samples
  int size;                // elements of a sample
  int block;               // of them that share a gate; all where there are no gates
  const unsigned* bits;    // row u: the samples for which unit u is on; null: all are on for all
  std::int64_t bit_words;  // between rows of bits
};

template <class T>
struct WeightGradientArguments {
  SampleRows<T> left, right;
  T* out;
  std::int64_t out_stride;
  int n;
};

// Rows (or columns) `begin` up to `end` of the outputs, those of a tile that lie in one unit; none if it has no more.
struct TileExtent {
  int begin, end, unit;

  template <int side, class T>
  __device__ __forceinline__ static TileExtent of(const SampleRows<T>& factor, int tile) {
    const int in_unit = (factor.block + side - 1) / side, unit = tile / in_unit;
    const int begin = unit * factor.block + tile % in_unit * side;
    return {begin, min(min(begin + side, (unit + 1) * factor.block), factor.size), unit};
  }
};

// Copies of a tile's rows of one factor, k by k: threads that follow each other copy the chunks of a sample.
template <class Tile, int side>
class SampleCopies {
 public:
  using T = typename Tile::Element;
  static constexpr int chunks = side / Tile::chunk;    // of a sample
  static constexpr int step = Tile::threads / chunks;  // samples that are copied at once
  static constexpr int count = Tile::depth / step;
  static_assert(Tile::threads % chunks == 0 && Tile::depth % step == 0 && step >= 4);

  // A chunk beyond the extent is one inside: its outputs are not written.
  __device__ __forceinline__ SampleCopies(const SampleRows<T>& factor, const TileExtent& extent)
      : stride_(factor.stride) {
    const int row = static_cast<int>(threadIdx.x) % chunks * Tile::chunk, k = first();
    from_ = factor.data + (extent.begin + row < extent.end ? extent.begin + row : extent.begin);
    to_ = outer_index<Tile, side>(k, row);
  }

  // This thread's first k in a tile.
  __device__ __forceinline__ static int first() { return static_cast<int>(threadIdx.x) / chunks; }

  // Starts a part of the copies. samples[i]: that of k = first() + i * step, if it is less than first() + `left`.
  __device__ __forceinline__ void start(Shared<T> to, const int (&samples)[count], int left, int part,
                                        int parts) const {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      if (i * parts / count != part) continue;
      // k + i * step has the swizzle of k, with that of i * step.
      const int place = (to_ ^ outer_swizzle<Tile, side>(i * step) * Tile::chunk) + i * step * side;
      copy_async<16>(to, place, strided(from_, samples[i], stride_), i * step < left);
    }
  }

 private:
  const T* from_;  // of this thread's chunk of sample 0
  int stride_, to_;
};

// The copies of both factors, the right factor's part behind the left one's in a stage.
template <class Tile, class Samples>
class PairCopies {
  using Left = SampleCopies<Tile, Tile::rows>;
  using Right = SampleCopies<Tile, Tile::columns>;

 public:
  using T = typename Tile::Element;

  __device__ __forceinline__ PairCopies(const SampleRows<T>& left, const TileExtent& rows, const SampleRows<T>& right,
                                        const TileExtent& columns, const Samples& samples)
      : samples_(samples), left_(left, rows), right_(right, columns) {}

  // The samples that this thread copies for a tile, all of them before its copies: one that follows a load from shared
  // memory waits for it. Of the right factor only where it has not the threads' samples of the left one.
  struct Next {
    int left[Left::count], right[Left::chunks == Right::chunks ? 1 : Right::count], samples;
  };

  // Goes on to the next tile, which holds nothing behind the last one. All threads of the block are there.
  __device__ __forceinline__ Next next() {
    Next next;
    samples_.prepare();
    next.samples = samples_.left();
    load<Left>(next.left);
    if constexpr (Left::chunks != Right::chunks) load<Right>(next.right);
    samples_.take();
    if (next.samples > 0) ++started_;
    return next;
  }

  // Starts a part of a tile's copies; the last part closes their group.
  __device__ __forceinline__ void start(Shared<T> stage, const Next& next, int part, int parts) const {
    left_.start(stage, next.left, next.samples - Left::first(), part, parts);
    if constexpr (Left::chunks != Right::chunks)
      right_.start(right_of(stage), next.right, next.samples - Right::first(), part, parts);
    else
      right_.start(right_of(stage), next.left, next.samples - Left::first(), part, parts);
    if (part + 1 == parts) commit_copies();
  }

  // Tiles that hold a sample, so far.
  __device__ __forceinline__ int started() const { return started_; }

  static __device__ __forceinline__ Shared<T> right_of(Shared<T> stage) { return stage.from(Tile::rows * Tile::depth); }

 private:
  template <class Copies>
  __device__ __forceinline__ void load(int (&samples)[Copies::count]) const {
#pragma unroll
    for (int i = 0; i < Copies::count; ++i) samples[i] = samples_.at(Copies::first() + i * Copies::step);
  }

  Samples samples_;
  Left left_;
  Right right_;
  int started_ = 0;
};

// Adds the products of all tiles to `sums`; calls flush(i) after tile i unless it is the last one. The next tile's
// copies start between the products of this one.
template <class Tile, class Copies, class Flush>
__device__ __forceinline__ void multiply_pair(Copies& copies, Shared<typename Tile::Element> stages, Sums<Tile>& sums,
                                              Flush&& flush) {
  constexpr int size = Tile::stage_elements;
#pragma unroll 1
  for (int s = 0; s + 1 < Tile::stages; ++s) copies.start(stages.from(s * size), copies.next(), 0, 1);
  const Multiplier<Tile> multiply;
  int use = 0, fill = Tile::stages - 1;
#pragma unroll 1
  for (int i = 0; i < copies.started(); ++i) {
    if (i > 0) flush(i - 1);
    wait_copies<Tile::stages - 2>();
    __syncthreads();  // tile i is complete, and all warps are done with the stage that is filled next
    const auto next = copies.next();
    const auto stage = stages.from(use * size), filled = stages.from(fill * size);
    multiply(stage, copies.right_of(stage), sums,
             [&](int part, int parts) { copies.start(filled, next, part, parts); });
    fill = use;
    use = use + 1 == Tile::stages ? 0 : use + 1;
  }
  wait_copies<0>();
}

// Pairs of neighbouring columns; extents are even.
template <class Tile, class T>
__device__ __forceinline__ void write_sums(const WeightGradientArguments<T>& a, const TileExtent& rows,
                                           const TileExtent& columns, Sums<Tile>& sums) {
#pragma unroll
  for (int i = 0; i < Tile::sums_down; ++i) {
    const int row = rows.begin + Sums<Tile>::row(i);
    if (row < rows.end) {
      T* const out = a.out + row * a.out_stride;
#pragma unroll
      for (int j = 0; j < Tile::sums_across; j += 2) {
        const int column = columns.begin + Sums<Tile>::column(j);
        if (column < columns.end) store_pair(out + column, sums.at(i, j), sums.at(i, j + 1));
      }
    }
  }
}

template <int configuration>
using WeightGradientTile = ConfiguredTile<weight_gradient_table, configuration, Layout::k_outer, Layout::k_outer>;

template <int configuration>
__global__ void __launch_bounds__(WeightGradientTile<configuration>::threads,
                                  weight_gradient_table[configuration].resident_80)
    weight_gradient_kernel(const WeightGradientArguments<typename WeightGradientTile<configuration>::Element> a,
                           int tiles_down, int tiles_across) {
  using Tile = WeightGradientTile<configuration>;
  using T = typename Tile::Element;
  using Samples = CommonSamples<Tile::threads, piece_samples(Tile::threads), Tile::depth>;
  SharedArena arena;
  const Shared<T> stages = arena.take<T>(Tile::stages * Tile::stage_elements, 128);
  const Shared<int> list = arena.take<int>(list_entries(weight_gradient_table[configuration]));
  const Shared<int> counts = arena.take<int>(list_counts(Tile::threads));
  const int2 tile = grouped_tile(blockIdx.x, tiles_down, tiles_across);
  const TileExtent rows = TileExtent::of<Tile::rows>(a.left, tile.x);
  const TileExtent columns = TileExtent::of<Tile::columns>(a.right, tile.y);
  if (rows.begin >= rows.end || columns.begin >= columns.end) return;

  const BitRows bits{a.left.bits ? a.left.bits + rows.unit * a.left.bit_words : nullptr,
                     a.right.bits ? a.right.bits + columns.unit * a.right.bit_words : nullptr, a.n};
  PairCopies<Tile, Samples> copies(a.left, rows, a.right, columns, Samples(bits, list, counts));
  Sums<Tile> sums;
  sums.clear();
  if constexpr (Tile::flush_tiles == 0) {
    multiply_pair(copies, stages, sums, [](int) {});
  } else {
    const SharedSums<Tile> totals(arena.take<typename Tile::Sum>(SharedSums<Tile>::elements));
    multiply_pair(copies, stages, sums, [&](int i) {
      if ((i + 1) % Tile::flush_tiles != 0) return;
      totals.add(sums, 0, i < Tile::flush_tiles);
      sums.clear();
    });
    if (copies.started() > Tile::flush_tiles)
#pragma unroll
      for (int e = 0; e < Tile::sums; ++e) sums.flat(e) += totals.at(e);
  }
  write_sums<Tile>(a, rows, columns, sums);
}

}  // namespace gatentk::cuda
