#include <limits>
#include <stdexcept>
#include <string>

#include "launch.cuh"
#include "pack_bits.cuh"
#include "pack_bits.hpp"

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

void pack_bits(const std::uint8_t* mask, std::int64_t mask_stride, std::int64_t rows, std::int64_t width,
               std::uint8_t* bits, std::int64_t row_bytes, const Device& device) {
  if (!rows || !row_bytes) return;
  check_words("pack_bits", bits, row_bytes);
  const PackArguments a{reinterpret_cast<unsigned*>(bits),
                        row_bytes / 4,
                        row_bytes / 4,
                        const_cast<std::uint8_t*>(mask),
                        rows,
                        width,
                        mask_stride};
  launch(pack_words, "pack_bits", words_grid("pack_bits", a, device), a);
}

void unpack_bits(const std::uint8_t* bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                 std::uint8_t* mask, const Device& device) {
  if (!rows || !width) return;
  check_words("unpack_bits", bits, bits_stride);
  const PackArguments a{reinterpret_cast<unsigned*>(const_cast<std::uint8_t*>(bits)),
                        tiles_of(width, 32),
                        bits_stride / 4,
                        mask,
                        rows,
                        width,
                        width};
  launch(unpack_words, "unpack_bits", words_grid("unpack_bits", a, device), a);
}

void transpose_bits(const std::uint8_t* bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                    std::uint8_t* out, std::int64_t out_bytes, const Device& device) {
  if (!width || !out_bytes) return;
  check_words("transpose_bits", bits, bits_stride);
  check_words("transpose_bits", out, out_bytes);
  constexpr int side = TransposeLayout::side;
  const TransposeArguments a{reinterpret_cast<const unsigned*>(bits), bits_stride / 4, rows, width,
                             reinterpret_cast<unsigned*>(out),        out_bytes / 4};
  const std::int64_t blocks = tiles_of(8 * out_bytes, side) * tiles_of(width, side);
  launch(transpose_tile, "transpose_bits",
         grid_of("transpose_bits", blocks, transpose_threads, TransposeLayout::shared_bytes, device), a);
}

}  // namespace gatentk::cuda
