// Packing of masks into bits (LSB first), unpacking, and transposition of matrices of bits.
#pragma once

#include <cstdint>

#include "cuda/device/lanes.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/pack_bits/configurations.hpp"

namespace gatentk::cuda {

// A matrix of bits in 32-bit words and its mask of bytes.
struct PackArguments {
  unsigned* bits;
  std::int64_t words, bits_stride;  // in a row, between rows, in words
  std::uint8_t* mask;
  std::int64_t rows, width, mask_stride;
};

// Calls word_of(row, word, which) for the up to 32 words of this warp, numbered over all rows without gaps, so that
// short rows keep the warp busy as well.
template <class Function>
__device__ __forceinline__ void for_each_word(const PackArguments& a, Function&& function) {
  const std::int64_t warp = (std::int64_t{blockIdx.x} * pack_threads + threadIdx.x) / 32, first = warp * 32;
  std::int64_t row = first / a.words, word = first % a.words;
  for (int which = 0; which < 32 && row < a.rows; ++which) {
    function(row, word, which);
    if (++word == a.words) {
      word = 0;
      ++row;
    }
  }
}

// A word is a ballot over 32 bytes; lane w keeps word w, and the 32 words leave together.
__global__ void __launch_bounds__(pack_threads) pack_words(const PackArguments a) {
  const int lane = threadIdx.x % 32;
  unsigned kept = 0, *place = nullptr;
  for_each_word(a, [&](std::int64_t row, std::int64_t word, int which) {
    const std::int64_t k = 32 * word + lane;
    const unsigned packed = __ballot_sync(all_lanes, k < a.width && a.mask[row * a.mask_stride + k] != 0);
    if (lane == which) {
      kept = packed;
      place = a.bits + row * a.bits_stride + word;
    }
  });
  if (place) *place = kept;
}

__global__ void __launch_bounds__(pack_threads) unpack_words(const PackArguments a) {
  const int lane = threadIdx.x % 32;
  for_each_word(a, [&](std::int64_t row, std::int64_t word, int) {
    const std::int64_t k = 32 * word + lane;
    if (k < a.width) a.mask[row * a.mask_stride + k] = a.bits[row * a.bits_stride + word] >> lane & 1;
  });
}

struct TransposeArguments {
  const unsigned* bits;
  std::int64_t bits_stride, rows, width;  // stride in words
  unsigned* out;
  std::int64_t out_words;  // of its rows
};

// Lane r has row r of a square of 32 x 32 bits and gets column r: halves are exchanged at ever finer scale (Warren,
// Hacker's Delight, 7-3), each step with the lane that has the other half.
__device__ __forceinline__ unsigned transpose_square(unsigned word) {
  unsigned low = 0x0000ffffu;
#pragma unroll
  for (int step = 16; step > 0; step /= 2, low ^= low << step) {
    const unsigned other = __shfl_xor_sync(all_lanes, word, step);
    word = threadIdx.x & step ? (word & ~low) | (other & ~low) >> step : (word & low) | (other & low) << step;
  }
  return word;
}

// A block transposes 256 x 256 bits: a warp the squares of 32 rows, one after the other. In and out, eight lanes move
// 32 bytes of a row together.
__global__ void __launch_bounds__(transpose_threads) transpose_tile(const TransposeArguments a) {
  constexpr int side = TransposeLayout::side, words = TransposeLayout::words, pitch = TransposeLayout::pitch;
  SharedArena arena;
  const Shared<unsigned> rows = arena.take<unsigned>(side * pitch), columns = arena.take<unsigned>(side * pitch);
  const std::int64_t tiles_across = (a.width + side - 1) / side;
  const std::int64_t i0 = blockIdx.x / tiles_across * side, k0 = blockIdx.x % tiles_across * side;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, word = threadIdx.x % words;
  const std::int64_t row_words = (a.width + 31) / 32;
#pragma unroll
  for (int r = threadIdx.x / words; r < side; r += transpose_threads / words) {
    const bool inside = i0 + r < a.rows && k0 / 32 + word < row_words;
    rows[r * pitch + word] = inside ? a.bits[(i0 + r) * a.bits_stride + k0 / 32 + word] : 0;
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < words; ++k)
    columns[(32 * k + lane) * pitch + warp] = transpose_square(rows[(32 * warp + lane) * pitch + k]);
  __syncthreads();
#pragma unroll
  for (int k = threadIdx.x / words; k < side; k += transpose_threads / words)
    if (k0 + k < a.width && i0 / 32 + word < a.out_words)
      a.out[(k0 + k) * a.out_words + i0 / 32 + word] = columns[k * pitch + word];
}

}  // namespace gatentk::cuda
