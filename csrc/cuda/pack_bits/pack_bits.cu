#include <limits>
#include <stdexcept>
#include <string>

#include "cuda/device/launch.cuh"
#include "cuda/pack_bits/kernel.cuh"
#include "cuda/pack_bits/pack_bits.hpp"
#include "cuda/tile/grid.hpp"

namespace gatentk::cuda {

namespace {

void check_words(const char* name, const std::uint8_t* bits, std::int64_t stride) {
  if (reinterpret_cast<std::uintptr_t>(bits) % 4 || stride % 4)
    throw std::invalid_argument(std::string(name) + ": expected rows of bits at multiples of 4 bytes");
}

Grid grid_of(const char* name, std::int64_t blocks, int threads, int shared_bytes, const Device& device) {
  if (blocks > std::numeric_limits<int>::max()) throw std::invalid_argument(std::string(name) + ": too many bits");
  return {dim3(static_cast<unsigned>(blocks)), threads, shared_bytes, device.stream};
}

Grid words_grid(const char* name, const PackArguments& a, const Device& device) {
  return grid_of(name, tiles_of(a.rows * a.words, pack_threads), pack_threads, 0, device);
}

}  // namespace

void pack_bits(const PackBits& problem, const Device& device) {
  if (!problem.rows || !problem.row_bytes) return;
  check_words("pack_bits", problem.bits, problem.row_bytes);
  const PackArguments a{reinterpret_cast<unsigned*>(problem.bits),
                        problem.row_bytes / 4,
                        problem.row_bytes / 4,
                        const_cast<std::uint8_t*>(problem.mask),
                        problem.rows,
                        problem.width,
                        problem.mask_stride};
  launch(pack_words, "pack_bits", words_grid("pack_bits", a, device), a);
}

void unpack_bits(const UnpackBits& problem, const Device& device) {
  if (!problem.rows || !problem.width) return;
  check_words("unpack_bits", problem.bits, problem.bits_stride);
  const PackArguments a{reinterpret_cast<unsigned*>(const_cast<std::uint8_t*>(problem.bits)),
                        tiles_of(problem.width, 32),
                        problem.bits_stride / 4,
                        problem.mask,
                        problem.rows,
                        problem.width,
                        problem.width};
  launch(unpack_words, "unpack_bits", words_grid("unpack_bits", a, device), a);
}

void transpose_bits(const TransposeBits& problem, const Device& device) {
  if (!problem.width || !problem.out_bytes) return;
  check_words("transpose_bits", problem.bits, problem.bits_stride);
  check_words("transpose_bits", problem.out, problem.out_bytes);
  check_shared_bytes("transpose_bits", TransposeLayout::shared_bytes, device);
  constexpr int side = TransposeLayout::side;
  const TransposeArguments a{
      reinterpret_cast<const unsigned*>(problem.bits), problem.bits_stride / 4, problem.rows, problem.width,
      reinterpret_cast<unsigned*>(problem.out),        problem.out_bytes / 4};
  const std::int64_t blocks = tiles_of(8 * problem.out_bytes, side) * tiles_of(problem.width, side);
  launch(transpose_tile, "transpose_bits",
         grid_of("transpose_bits", blocks, transpose_threads, TransposeLayout::shared_bytes, device), a);
}

}  // namespace gatentk::cuda
