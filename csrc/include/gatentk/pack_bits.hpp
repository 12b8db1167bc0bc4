// Masks and their packed bits: LSB first, rows padded with zeros to a multiple of 16 bytes.
#pragma once

#include <cstdint>

namespace gatentk {

// bits[i] = mask[i], packed.
struct PackBits {
  const std::uint8_t* mask = nullptr;  // [rows][width] bytes, 0 or not 0
  std::int64_t mask_stride = 0;
  std::int64_t rows = 0, width = 0;
  std::uint8_t* bits = nullptr;  // rows of row_bytes bytes, written
  std::int64_t row_bytes = 0;
};

// mask[i] = bits[i], unpacked.
struct UnpackBits {
  const std::uint8_t* bits = nullptr;
  std::int64_t bits_stride = 0;  // bytes between rows
  std::int64_t rows = 0, width = 0;
  std::uint8_t* mask = nullptr;  // [rows][width] bytes, 0 or 1, written
};

// Bit i of row k of `out` is bit k of row i of `bits`; padding becomes zero.
struct TransposeBits {
  const std::uint8_t* bits = nullptr;
  std::int64_t bits_stride = 0;  // bytes between rows
  std::int64_t rows = 0, width = 0;
  std::uint8_t* out = nullptr;  // `width` rows of out_bytes bytes, written
  std::int64_t out_bytes = 0;
};

}  // namespace gatentk
