// Masks to packed bits and back on the GPU; see csrc/include/gatentk/pack_bits.hpp for the arguments.
#pragma once

#include <cstdint>

#include "device.hpp"

namespace gatentk::cuda {

// Bits start at multiples of 4 bytes and so do their rows; std::invalid_argument where they do not.
void pack_bits(const std::uint8_t* mask, std::int64_t mask_stride, std::int64_t rows, std::int64_t width,
               std::uint8_t* bits, std::int64_t row_bytes, const Device& device);
void unpack_bits(const std::uint8_t* bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                 std::uint8_t* mask, const Device& device);
void transpose_bits(const std::uint8_t* bits, std::int64_t bits_stride, std::int64_t rows, std::int64_t width,
                    std::uint8_t* out, std::int64_t out_bytes, const Device& device);

}  // namespace gatentk::cuda
