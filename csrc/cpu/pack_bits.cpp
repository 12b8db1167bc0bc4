#include "gatentk/pack_bits.hpp"

#include <cstring>

#include "gatentk/kernel_table.hpp"
#include "gatentk/parallel.hpp"

namespace gatentk {

namespace {

// Rows per parallel task: enough bytes to outweigh handing out the task.
std::int64_t rows_per_task(std::int64_t width) {
  return 1 + 65536 / (width + 1);
}

template <class Function>
void for_each_row(std::int64_t rows, std::int64_t width, int threads, Function&& function) {
  const std::int64_t step = rows_per_task(width);
  parallel_for((rows + step - 1) / step, threads, [&](std::int64_t task, int) {
    for (std::int64_t i = task * step; i < rows && i < (task + 1) * step; ++i) function(i);
  });
}

}  // namespace

void pack_bits(const std::uint8_t* mask, std::int64_t mask_stride, std::int64_t rows, std::int64_t width,
               std::uint8_t* bits, std::int64_t row_bytes, int threads) {
  const BitKernels& kernel = kernels().bits;
  const std::int64_t used = (width + 7) / 8;
  for_each_row(rows, width, threads, [&](std::int64_t i) {
    kernel.pack(mask + i * mask_stride, width, bits + i * row_bytes);
    std::memset(bits + i * row_bytes + used, 0, static_cast<std::size_t>(row_bytes - used));
  });
}

void unpack_bits(const std::uint8_t* bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                 std::uint8_t* mask, int threads) {
  const BitKernels& kernel = kernels().bits;
  for_each_row(rows, width, threads,
               [&](std::int64_t i) { kernel.unpack(bits + i * bits_stride, width, mask + i * width); });
}

}  // namespace gatentk
