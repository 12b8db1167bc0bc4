// Copies of 16 bytes that bring rows of the factors to shared memory, wherever these rows lie.
#pragma once

#include <cstdint>

#include "cuda/device/lanes.cuh"
#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/tile/shape.cuh"

namespace gatentk::cuda {

template <class T>
struct BlockArguments {
  const T *left, *right;
  T* out;
  std::int64_t out_stride;
  unsigned left_chunks, right_chunks;  // 16 bytes each, between rows
  int n, columns, width;
  const int* lists;  // [units][n + 1], or null
  int block_out;
  const unsigned* left_bits;  // or null
  std::int64_t left_words;    // between rows
  int block_left;
};

// Copies of a k-tile may be started in parts, for products come between them: whether copy i of `count` is in this
// part.
constexpr bool in_part(int i, int count, int part, int parts) {
  return i * parts / count == part;
}

// Where the eight lanes that copy 128 bytes along k of a row put them: copy i of a thread is of row first() + i * step.
template <class Tile, int rows>
class RowChunks {
 public:
  using T = typename Tile::Element;
  static constexpr int step = Tile::threads / 8, count = rows / step;
  static_assert(step % 8 == 0 && rows % step == 0 && count <= 32);

  static __device__ __forceinline__ int first() { return static_cast<int>(threadIdx.x) / 8; }
  // This lane's first k in a tile.
  static __device__ __forceinline__ int lane_k() { return static_cast<int>(threadIdx.x) % 8 * Tile::chunk; }

 protected:
  // Copy i, from the row that begins `row` chunks behind `from`.
  __device__ __forceinline__ void copy(Shared<T> stage, int i, const T* from, std::uint64_t row, bool on) const {
    copy_async<16>(stage, to_ + i * step * Tile::depth, from + row * Tile::chunk, on);
  }

 private:
  int to_ = tile_index<Tile>(first(), lane_k());
};

// Rows of the left factor, wherever they lie.
template <class Tile>
class ListedRows : public RowChunks<Tile, Tile::rows> {
 public:
  using T = typename Tile::Element;
  using Chunks = RowChunks<Tile, Tile::rows>;

  // `rows`: the samples of the tile, negative where none is on.
  __device__ __forceinline__ ListedRows(const BlockArguments<T>& arguments, Shared<int> rows)
      : from_(arguments.left + Chunks::lane_k()) {
#pragma unroll
    for (int i = 0; i < Chunks::count; ++i)
      offsets_[i] = static_cast<unsigned>(max(rows[Chunks::first() + i * Chunks::step], 0)) * arguments.left_chunks;
  }

  // Starts a part of the copies of a k-tile; bit i of `on`: whether copy i reads, the others fill in zeros.
  __device__ __forceinline__ void copy_part(Shared<T> stage, unsigned on, int part, int parts) const {
#pragma unroll
    for (int i = 0; i < Chunks::count; ++i)
      if (in_part(i, Chunks::count, part, parts)) this->copy(stage, i, from_, offsets_[i], on & 1u << i);
  }
  __device__ __forceinline__ void advance() { from_ += Tile::depth; }

 private:
  const T* from_;                    // of this lane's chunk of row 0 in the next k-tile
  unsigned offsets_[Chunks::count];  // of the rows, in chunks: one multiply-add makes an address
};

// Neighbouring rows of the right factor, which are columns of the result.
template <class Tile>
class NeighbouringRows : public RowChunks<Tile, Tile::columns> {
 public:
  using T = typename Tile::Element;
  using Chunks = RowChunks<Tile, Tile::columns>;

  // From row `first` on.
  __device__ __forceinline__ NeighbouringRows(const BlockArguments<T>& arguments, int first)
      : arguments_(arguments),
        from_(arguments.right + std::uint64_t{arguments.right_chunks} * (first + Chunks::first()) * Tile::chunk +
              Chunks::lane_k()),
        rows_(arguments.columns - first - Chunks::first()) {}

  // Starts a part of the copies of a k-tile; k_left: of the factor from its first k on, those beyond become zeros.
  __device__ __forceinline__ void copy_part(Shared<T> stage, int k_left, int part, int parts) const {
    const int rows = Chunks::lane_k() < k_left ? rows_ : 0;
#pragma unroll
    for (int i = 0; i < Chunks::count; ++i) {
      constexpr int step = Chunks::step;
      if (in_part(i, Chunks::count, part, parts))
        this->copy(stage, i, from_, std::uint64_t{arguments_.right_chunks} * (i * step), i * step < rows);
    }
  }
  __device__ __forceinline__ void advance() { from_ += Tile::depth; }

 private:
  const BlockArguments<T>& arguments_;
  const T* from_;  // of this thread's first chunk in the next k-tile
  int rows_;
};

// The right factor, stored with k outer: `lanes` lanes copy up to 128 bytes along a k, of every such part of the tile's
// columns and every `step`-th k.
template <class Tile>
class DepthChunks {
 public:
  using T = typename Tile::Element;
  static constexpr int side = Tile::columns;
  static constexpr int lanes = side / Tile::chunk < 8 ? side / Tile::chunk : 8, step = Tile::threads / lanes;
  static constexpr int down = Tile::depth / step, across = side / Tile::chunk / lanes;
  static_assert(step % 8 == 0 && Tile::depth % step == 0);

  // From column `first` on.
  __device__ __forceinline__ DepthChunks(const BlockArguments<T>& arguments, int first)
      : arguments_(arguments),
        from_(arguments.right + first_k() * stride() + first + first_column()),
        to_(outer_index<Tile, side>(first_k(), first_column())),
        columns_(arguments.columns - first - first_column()) {}

  // As that of NeighbouringRows.
  __device__ __forceinline__ void copy_part(Shared<T> stage, int k_left, int part, int parts) const {
#pragma unroll
    for (int i = 0; i < down; ++i) {
      const int columns = first_k() + i * step < k_left ? columns_ : 0;
#pragma unroll
      for (int j = 0; j < across; ++j) {
        constexpr int width = lanes * Tile::chunk;
        if (in_part(i * across + j, down * across, part, parts))
          copy_async<16>(stage, to_ + i * step * side + j * width, from_ + i * step * stride() + j * width,
                         j * width < columns);
      }
    }
  }
  __device__ __forceinline__ void advance() { from_ += Tile::depth * stride(); }

 private:
  static __device__ __forceinline__ int first_k() { return static_cast<int>(threadIdx.x) / lanes; }
  static __device__ __forceinline__ int first_column() { return static_cast<int>(threadIdx.x) % lanes * Tile::chunk; }

  __device__ __forceinline__ std::int64_t stride() const { return std::int64_t{arguments_.right_chunks} * Tile::chunk; }

  const BlockArguments<T>& arguments_;
  const T* from_;  // of this thread's first chunk in the next k-tile
  int to_, columns_;
};

// Gates of the left factor's units along k, for the rows of ListedRows: lane c of eight keeps those of copies c, c + 8,
// ... of all eight, 32 units in a register, and a ballot hands them round.
template <class Tile>
class UnitGates {
 public:
  using T = typename Tile::Element;
  using Chunks = RowChunks<Tile, Tile::rows>;

  // `rows` as those of ListedRows.
  __device__ __forceinline__ UnitGates(const BlockArguments<T>& arguments, Shared<int> rows)
      : arguments_(arguments), rows_(rows), left_of_unit_(arguments.block_left) {
#pragma unroll
    for (int g = 0; g < groups; ++g) here_[g] = read(g, 0), ahead_[g] = read(g, 1);
  }

  // Bit i: whether this lane's chunk in the k-tile is on in copy i.
  __device__ __forceinline__ unsigned current() const {
    unsigned on = 0;
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      const unsigned bits = here_[g] >> unit_ % 32;
      unsigned votes = __ballot_sync(all_lanes, bits & 1u);
      if constexpr (two_units) {
        const unsigned second = __ballot_sync(all_lanes, bits & 2u);
        if (Chunks::lane_k() >= left_of_unit_) votes = second;
      }
      votes >>= lane_index() / 8 * 8;
      on = groups == 1 ? votes : on | (votes & 0xffu) << 8 * g;
    }
    return on;
  }

  // To the next k-tile.
  __device__ __forceinline__ void advance() {
    left_of_unit_ -= Tile::depth;
    if (left_of_unit_ <= 0) go_on();
  }

 private:
  static constexpr int groups = (Chunks::count + 7) / 8;
  static constexpr bool two_units = Tile::depth > 32;              // a k-tile may hold parts of two units of 32 or more
  static_assert(32 * 32 % Tile::depth == 0 && Tile::depth <= 64);  // 32 units of a multiple of 32 end where a tile ends

  __device__ __forceinline__ void go_on() {
    const unsigned word = unit_ / 32;
    left_of_unit_ += arguments_.block_left, ++unit_;
    if constexpr (two_units)
      if (left_of_unit_ <= 0) left_of_unit_ += arguments_.block_left, ++unit_;
    if (unit_ / 32 == word) return;
#pragma unroll
    for (int g = 0; g < groups; ++g) here_[g] = ahead_[g], ahead_[g] = read(g, word + 2);
  }

  // Word `word` of the gates of this lane's row in group g.
  __device__ __forceinline__ unsigned read(int g, unsigned word) const {
    const int copy = 8 * g + lane_index() % 8;
    const int row = copy < Chunks::count ? rows_[Chunks::first() + copy * Chunks::step] : -1;
    if (row < 0) return 0;
    if (!arguments_.left_bits) return all_lanes;
    if (std::int64_t{32} * word * arguments_.block_left >= arguments_.width) return 0;
    return arguments_.left_bits[row * arguments_.left_words + word];
  }

  const BlockArguments<T>& arguments_;  // a parameter of the kernel: read where needed, not held in registers
  Shared<int> rows_;
  unsigned here_[groups], ahead_[groups];  // ahead_ is read long before it is used
  unsigned unit_ = 0;                      // of the tile's first k
  int left_of_unit_;                       // k from there on
};

}  // namespace gatentk::cuda
