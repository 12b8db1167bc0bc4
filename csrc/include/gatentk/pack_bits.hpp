// Masks to packed bits and back: LSB first, rows padded with zeros to a multiple of 16 bytes.
#pragma once

#include <cstdint>

namespace gatentk {

// mask: [rows][width] bytes, 0 or not 0, `mask_stride` bytes between rows; bits: rows of `row_bytes` bytes.
void pack_bits(const std::uint8_t* mask, std::int64_t mask_stride, std::int64_t rows, std::int64_t width,
               std::uint8_t* bits, std::int64_t row_bytes, int threads);
void unpack_bits(const std::uint8_t* bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                 std::uint8_t* mask, int threads);

// out: `width` rows of `out_bytes` bytes; bit i of row k is bit k of row i. Padding becomes zero.
void transpose_bits(const std::uint8_t* bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                    std::uint8_t* out, std::int64_t out_bytes, int threads);

}  // namespace gatentk
