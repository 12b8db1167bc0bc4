// A checksum that notices any change of a few bytes for certain, and any other but for one in 2^64.
#pragma once

#include <cstdint>

namespace gatentk::cpu {

// Of `bytes` bytes, following those whose checksum is `before`. The result depends on nothing but values and order.
std::uint64_t checksum(const std::uint8_t* data, std::int64_t bytes, std::uint64_t before, int threads);

}  // namespace gatentk::cpu
