// The checksum of a block of bytes, the same with every instruction set.
#pragma once

#include <cstdint>

#include "cpu/checksum.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// The last stripe is filled up with zeros; the length tells it from one that ends in zeros.
static std::uint64_t checksum_of_block(const std::uint8_t* data, std::int64_t bytes) {
  // Running values side by side, so that none waits for the multiplication of another: as fast as memory is read where
  // a vector of them is multiplied at once.
  constexpr int lanes = 8;
  constexpr std::int64_t stripe_bytes = lanes * 8;
  std::uint64_t value[lanes];
  for (int lane = 0; lane < lanes; ++lane) value[lane] = static_cast<std::uint64_t>(lane);
  const std::int64_t whole = bytes / stripe_bytes * stripe_bytes;
  for (std::int64_t at = 0; at < whole; at += stripe_bytes) {
    std::uint64_t words[lanes];
    __builtin_memcpy(words, data + at, stripe_bytes);
    for (int lane = 0; lane < lanes; ++lane) {
#ifndef __AVX512DQ__
      // Vectors whose multiplication is put together from halves are slower than the multiplier of single numbers.
      asm("" : "+r"(words[lane]));
#endif
      value[lane] = mix(value[lane], words[lane]);
    }
  }
  if (whole < bytes) {
    std::uint64_t words[lanes] = {};
    __builtin_memcpy(words, data + whole, static_cast<std::size_t>(bytes - whole));
    for (int lane = 0; lane < lanes; ++lane) value[lane] = mix(value[lane], words[lane]);
  }
  std::uint64_t total = static_cast<std::uint64_t>(bytes);
  for (int lane = 0; lane < lanes; ++lane) total = mix(total, value[lane]);
  return total;
}

}  // namespace gatentk::cpu::GATENTK_ISA
