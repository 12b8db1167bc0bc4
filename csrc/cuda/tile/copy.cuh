// The masking copies that bring tiles of the matrix products' factors to shared memory.
#pragma once

#include <cstdint>

#include "cuda/device/lanes.cuh"
#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/tile/operand.hpp"
#include "cuda/tile/shape.cuh"

namespace gatentk::cuda {

// Copies the tiles of one factor, `rows` of its rows from row0 on, to shared memory.
template <class Tile, int rows>
class TileCopy {
 public:
  using T = typename Tile::Element;

  __device__ __forceinline__ TileCopy(const Operand<T>& operand, int row0)
      : operand_(operand), data_(operand.data), bits_(operand.bits), rows_left_(operand.rows - row0) {
    if (operand_.mode == CopyMode::chunks) {
      const int row = chunk_row(), k = chunk_k();
      data_ += (row0 + row) * operand_.stride + k;
      rows_left_ -= row;
      to_ = tile_index<Tile>(row, k);
      if (bits_) bits_ += (row0 + row) * operand_.gate_stride + k / 8;
      return;
    }
    if constexpr (sizeof(T) == 2) {
      data_ += operand_.transposed ? row0 : row0 * operand_.stride;
      if (bits_) bits_ += operand_.transposed ? row0 / 8 : row0 * operand_.gate_stride;
    } else if (operand_.mode == CopyMode::rows) {
      const int row = line_row(lane_index() / line_lanes), k = lane_index() % line_lanes;
      data_ += (row0 + row) * operand_.stride + k;
      to_ = tile_index<Tile>(row, k);
      rows_left_ -= line_row(lane_index() % lines);
      if (bits_) bits_ += (row0 + line_row(lane_index() % lines)) * operand_.gate_stride;
    } else {
      const int row = patch_row(), k = patch_k(0);
      data_ += k * operand_.stride + row0 + row;
      to_ = tile_index<Tile>(row, k);
      if (bits_) bits_ += k * operand_.gate_stride + row0 / 8;
    }
  }

  // Reads the gates that issue(tile) will need, some time before it.
  __device__ __forceinline__ void load_gates(int tile) {
    if constexpr (sizeof(T) > 2) {
      if (operand_.mode == CopyMode::rows)
        load_line_gates(tile);
      else if (operand_.mode == CopyMode::columns)
        load_patch_gates(tile);
    }
  }

  // Starts the copies of a tile; its gates were loaded.
  __device__ __forceinline__ void issue(int tile, Shared<T> to) const {
    if (operand_.mode == CopyMode::chunks) return issue_chunks(tile, to);
    if constexpr (sizeof(T) == 2) {
      copy_elements(tile, to);
    } else {
      if (operand_.mode == CopyMode::rows)
        issue_lines(tile, to);
      else
        issue_patches(tile, to);
    }
  }

  // bfloat16 in chunks: reads the gates that mask(tile) will need.
  __device__ __forceinline__ void load_mask(int tile) {
    if (operand_.mode != CopyMode::chunks || !bits_) return;
#pragma unroll
    for (int i = 0; i < chunk_copies; ++i) {
      const bool inside = chunk_inside(tile) && i * chunk_rows < rows_left_;
      gates_[i] = inside ? bits_[i * chunk_rows * operand_.gate_stride + tile * (Tile::depth / 8)] : 0u;
    }
  }

  // bfloat16 in chunks: zeroes what is off among the elements that this thread has copied. The copies have arrived.
  __device__ __forceinline__ void mask(Shared<T> tile) const {
    if (operand_.mode != CopyMode::chunks || !bits_) return;
#pragma unroll
    for (int i = 0; i < chunk_copies; ++i) {
      const int at = to_ + i * chunk_rows * Tile::depth;
      uint4 values = tile.template load<uint4>(at);
      const unsigned spread = gates_[i] | gates_[i] << 15;  // bit j of the even gates, bit j + 16 of the odd ones
      values.x &= (spread & 0x00010001u) * 0xffffu;
      values.y &= (spread >> 2 & 0x00010001u) * 0xffffu;
      values.z &= (spread >> 4 & 0x00010001u) * 0xffffu;
      values.w &= (spread >> 6 & 0x00010001u) * 0xffffu;
      tile.store(at, values);
    }
  }

 private:
  // chunks: eight lanes copy a row of the tile.
  static constexpr int chunk_rows = Tile::threads / 8, chunk_copies = rows / chunk_rows;
  static_assert(chunk_rows % 8 == 0 && rows % chunk_rows == 0);

  // rows: a warp copies a row of the tile (float) or two (double) at once, whole 128-byte lines of memory.
  static constexpr int line_lanes = Tile::depth < 32 ? Tile::depth : 32, line_rows = 32 / line_lanes;
  static constexpr int lines = rows / Tile::warps;  // rows of a tile that one warp copies
  static_assert(lines <= 32);

  // columns: a warp copies patches of 32 bytes along the stored rows, the unit of memory traffic.
  static constexpr int patch_rows = 32 / static_cast<int>(sizeof(T)), patch_depth = 32 / patch_rows;
  static constexpr int patches_deep = Tile::depth / patch_depth;
  static constexpr int patch_copies = rows * Tile::depth / Tile::threads;
  static constexpr int depths = patches_deep > Tile::warps ? patches_deep / Tile::warps : 1;  // of one warp
  static constexpr int patch_step = Tile::warps > patches_deep ? Tile::warps / patches_deep : 1;
  static constexpr int gate_words = (rows + 31) / 32;

  __device__ __forceinline__ static int chunk_row() { return static_cast<int>(threadIdx.x / 8); }
  __device__ __forceinline__ static int chunk_k() { return static_cast<int>(threadIdx.x % 8) * Tile::chunk; }
  __device__ __forceinline__ bool chunk_inside(int tile) const {
    return tile * Tile::depth + chunk_k() < operand_.width;
  }

  // Row of the tile that is this warp's row `line`.
  __device__ __forceinline__ static int line_row(int line) {
    return line / line_rows * (Tile::warps * line_rows) + warp_index() * line_rows + line % line_rows;
  }

  // First row and k of this lane in the warp's patches: patch i lies patch_step * patch_rows * (i / depths) rows and
  // Tile::warps * patch_depth * (i % depths) columns further.
  __device__ __forceinline__ static int patch_row() {
    return warp_index() / patches_deep * patch_rows + lane_index() % patch_rows;
  }
  __device__ __forceinline__ static int patch_k(int v) {
    return (warp_index() % patches_deep + v * Tile::warps) * patch_depth + lane_index() / patch_rows;
  }

  // The place `step` rows times i below `first`. Rows 8 apart have the same swizzle; 4 below one of the first four the
  // next chunk's place and this one's are exchanged.
  template <int step>
  __device__ __forceinline__ static int stepped(int first, int i) {
    static_assert(step % 8 == 0 || step == 4);
    return (step % 8 != 0 && i % 2 != 0 ? first ^ Tile::chunk : first) + i * step * Tile::depth;
  }

  __device__ __forceinline__ void issue_chunks(int tile, Shared<T> to) const {
    const T* from = data_ + tile * Tile::depth;
    const int rows_left = chunk_inside(tile) ? rows_left_ : 0;
    // One address after the other: all rows' distances at once would occupy registers in the whole main loop.
#pragma unroll
    for (int i = 0; i < chunk_copies; ++i) {
      copy_async<16>(to, to_ + i * chunk_rows * Tile::depth, from, i * chunk_rows < rows_left);
      from += chunk_rows * operand_.stride;
    }
  }

  // Lane l holds the gates of the warp's row l.
  __device__ __forceinline__ void load_line_gates(int tile) {
    const int left = operand_.width - tile * Tile::depth;
    gates_[0] = 0;
    if (rows_left_ > 0) gates_[0] = (bits_ ? tile_gates<Tile>(bits_, tile) : all_lanes) & low_bits(left);
  }

  __device__ __forceinline__ void issue_lines(int tile, Shared<T> to) const {
    const T* from = data_ + tile * Tile::depth;
    constexpr int row_step = Tile::warps * line_rows;
    const unsigned bit = 1u << lane_index() % line_lanes;
#pragma unroll
    for (int i = 0; i < lines / line_rows; ++i) {
      const unsigned gates = __shfl_sync(all_lanes, gates_[0], i * line_rows + lane_index() / line_lanes);
      copy_async<sizeof(T)>(to, stepped<row_step>(to_, i), from, (gates & bit) != 0);
      from += row_step * operand_.stride;
    }
  }

  // gates_[v][w]: 32 rows from 32 w on, of the lane's column in the warp's patches of depth v; this lane's row of the
  // first of them in bit 0.
  __device__ __forceinline__ void load_patch_gates(int tile) {
    const int shift = patch_row();
#pragma unroll
    for (int v = 0; v < depths; ++v) {
      const bool inside = tile * Tile::depth + patch_k(v) < operand_.width;
      const std::uint8_t* row =
          bits_ ? bits_ + (static_cast<std::int64_t>(tile) * Tile::depth + v * Tile::warps * patch_depth) *
                              operand_.gate_stride
                : nullptr;
#pragma unroll
      for (int w = 0; w < gate_words; ++w) {
        gates_[v * gate_words + w] = inside ? all_lanes : 0u;
        if (bits_ && inside) gates_[v * gate_words + w] = reinterpret_cast<const unsigned*>(row)[w];
      }
    }
    // Rows beyond the operand's, in the last block only.
    if (rows_left_ < rows)
#pragma unroll
      for (int i = 0; i < depths * gate_words; ++i) gates_[i] &= low_bits(rows_left_ - i % gate_words * 32);
#pragma unroll
    for (int i = 0; i < depths * gate_words; ++i) gates_[i] >>= shift;
  }

  __device__ __forceinline__ void issue_patches(int tile, Shared<T> to) const {
#pragma unroll
    for (int v = 0; v < depths; ++v) {
      const T* from =
          data_ + (static_cast<std::int64_t>(tile) * Tile::depth + v * Tile::warps * patch_depth) * operand_.stride;
      const int first = v == 0 ? to_ : tile_index<Tile>(patch_row(), patch_k(v));
#pragma unroll
      for (int i = 0; i < patch_copies / depths; ++i) {
        constexpr int step = patch_step * patch_rows;
        const int row = i * step;
        const bool on = gates_[v * gate_words + row / 32] & 1u << row % 32;
        copy_async<sizeof(T)>(to, stepped<step>(first, i), from + row, on);
      }
    }
  }

  // Pairs along k, so that whole words are written: a lane's 2-byte loads of a row are neighbours, or lie in a stored
  // row each of a transposed factor.
  __device__ __forceinline__ void copy_elements(int tile, Shared<T> to) const {
    const Shared<unsigned> words = to.template as<unsigned>();
    constexpr int pairs = rows * Tile::depth / 2 / Tile::threads, deep = Tile::depth / 8;
#pragma unroll 4
    for (int i = 0; i < pairs; ++i) {
      const int unit = i * Tile::warps + warp_index();
      const int row = unit / deep * 8 + lane_index() % 8, k = unit % deep * 8 + lane_index() / 8 * 2;
      const int column = tile * Tile::depth + k;
      const unsigned low = element(row, column), high = element(row, column + 1);
      words[tile_index<Tile>(row, k) / 2] = low | high << 16;
    }
  }

  __device__ __forceinline__ unsigned element(int row, int k) const {
    if (row >= rows_left_ || k >= operand_.width) return 0;
    const std::int64_t line = operand_.transposed ? k : row, place = operand_.transposed ? row : k;
    if (bits_ && !(bits_[line * operand_.gate_stride + place / 8] >> place % 8 & 1)) return 0;
    return reinterpret_cast<const std::uint16_t*>(data_)[line * operand_.stride + place];
  }

  const Operand<T>& operand_;  // a parameter of the kernel: read where needed, not held in registers
  const T* data_;              // of this lane's first element in k-tile 0
  const std::uint8_t* bits_;
  int rows_left_;  // of the operand from this block's first row on; from this lane's (chunks), from its gates' (rows)
  int to_ = 0;     // where this lane's first element goes in a tile
  static constexpr int held = sizeof(T) == 2 ? chunk_copies : depths * gate_words;
  unsigned gates_[held] = {};
};

}  // namespace gatentk::cuda
