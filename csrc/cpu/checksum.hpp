// A checksum that notices any change of a few bytes for certain, and any other but for one in 2^64.
#pragma once

#include <cstdint>

namespace gatentk::cpu {

// Invertible in either argument, so one word that differs makes a difference for good. The rotation brings the upper
// bits down, where the next multiplication spreads them: signs that change in two words do not cancel.
static inline __attribute__((always_inline)) std::uint64_t mix(std::uint64_t value, std::uint64_t word) {
  return ((value << 27 | value >> 37) ^ word) * 0x9e3779b185ebca87u;
}

// Of `bytes` bytes, following those whose checksum is `before`. The result depends on nothing but values and order.
std::uint64_t checksum(const std::uint8_t* data, std::int64_t bytes, std::uint64_t before, int threads);

}  // namespace gatentk::cpu
