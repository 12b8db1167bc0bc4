#include "cpu/pack_bits.hpp"

#include <algorithm>
#include <cstring>

#include "cpu/kernel_table.hpp"
#include "cpu/parallel.hpp"

namespace gatentk::cpu {

namespace {

// Rows per parallel task: enough bytes to outweigh handing out the task, and a wait for the other threads.
std::int64_t rows_per_task(std::int64_t width) {
  return 1 + (1 << 19) / (width + 1);
}

template <class Function>
void for_each_row(std::int64_t rows, std::int64_t width, int threads, Function&& function) {
  if (!width) return;  // whatever the number of rows, there is nothing in them
  const std::int64_t step = rows_per_task(width);
  parallel_for((rows + step - 1) / step, threads, [&](std::int64_t task, int) {
    for (std::int64_t i = task * step; i < rows && i < (task + 1) * step; ++i) function(i);
  });
}

// Rows and columns of a square of 64 x 64 bits, row r in word r, change places: halves are exchanged at ever finer
// scale (Warren, Hacker's Delight, 7-3).
void transpose_square(std::uint64_t* square) {
  std::uint64_t low = 0x00000000ffffffffu;
  for (int step = 32; step > 0; step >>= 1, low ^= low << step)
    for (int r = 0; r < 64; r = ((r | step) + 1) & ~step) {
      const std::uint64_t differ = (square[r] >> step ^ square[r | step]) & low;
      square[r] ^= differ << step;
      square[r | step] ^= differ;
    }
}

}  // namespace

void pack_bits(const PackBits& problem, int threads) {
  const BitKernels& kernel = kernels().bits;
  const std::int64_t used = (problem.width + 7) / 8;
  for_each_row(problem.rows, problem.width, threads, [&](std::int64_t i) {
    std::uint8_t* row = problem.bits + i * problem.row_bytes;
    kernel.pack(problem.mask + i * problem.mask_stride, problem.width, row);
    std::memset(row + used, 0, static_cast<std::size_t>(problem.row_bytes - used));
  });
}

void unpack_bits(const UnpackBits& problem, int threads) {
  const BitKernels& kernel = kernels().bits;
  for_each_row(problem.rows, problem.width, threads, [&](std::int64_t i) {
    kernel.unpack(problem.bits + i * problem.bits_stride, problem.width, problem.mask + i * problem.width);
  });
}

void transpose_bits(const TransposeBits& problem, int threads) {
  if (!problem.out_bytes) return;
  parallel_for((problem.width + 63) / 64, threads, [&](std::int64_t task, int) {
    const std::int64_t k0 = task * 64, columns = std::min<std::int64_t>(64, problem.width - k0);
    for (std::int64_t i0 = 0; i0 < 8 * problem.out_bytes; i0 += 64) {
      std::uint64_t square[64] = {};
      const std::size_t bytes = static_cast<std::size_t>((columns + 7) / 8);
      for (std::int64_t r = 0; r < 64 && i0 + r < problem.rows; ++r)
        std::memcpy(square + r, problem.bits + (i0 + r) * problem.bits_stride + k0 / 8, bytes);
      transpose_square(square);
      for (std::int64_t c = 0; c < columns; ++c)
        std::memcpy(problem.out + (k0 + c) * problem.out_bytes + i0 / 8, square + c, 8);
    }
  });
}

}  // namespace gatentk::cpu
