#include "cpu/checksum.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/parallel.hpp"

namespace gatentk::cpu {

namespace {

constexpr std::int64_t block_bytes = 65536;
// Running values side by side, so that none waits for the multiplication of another: as fast as memory is read.
constexpr int lanes = 8;
constexpr std::int64_t word_bytes = 8, stripe_bytes = lanes * word_bytes;

// Invertible in either argument, so one word that differs makes a difference for good. The rotation brings the upper
// bits down, where the next multiplication spreads them: signs that change in two words do not cancel.
inline std::uint64_t mix(std::uint64_t value, std::uint64_t word) {
  return ((value << 27 | value >> 37) ^ word) * 0x9e3779b185ebca87u;
}

// The last stripe is filled up with zeros; the length tells it from one that ends in zeros.
std::uint64_t checksum_of_block(const std::uint8_t* data, std::int64_t bytes) {
  std::uint64_t value[lanes];
  for (int lane = 0; lane < lanes; ++lane) value[lane] = static_cast<std::uint64_t>(lane);
  const auto add_stripe = [&value](const std::uint8_t* stripe) {
    for (int lane = 0; lane < lanes; ++lane) {
      std::uint64_t word;
      std::memcpy(&word, stripe + lane * word_bytes, sizeof word);
      value[lane] = mix(value[lane], word);
    }
  };
  const std::int64_t whole = bytes / stripe_bytes * stripe_bytes;
  for (std::int64_t at = 0; at < whole; at += stripe_bytes) add_stripe(data + at);
  if (whole < bytes) {
    std::uint8_t last[stripe_bytes] = {};
    std::memcpy(last, data + whole, static_cast<std::size_t>(bytes - whole));
    add_stripe(last);
  }
  std::uint64_t total = static_cast<std::uint64_t>(bytes);
  for (int lane = 0; lane < lanes; ++lane) total = mix(total, value[lane]);
  return total;
}

}  // namespace

std::uint64_t checksum(const std::uint8_t* data, std::int64_t bytes, std::uint64_t before, int threads) {
  const std::int64_t blocks = (bytes + block_bytes - 1) / block_bytes;
  std::vector<std::uint64_t> values(static_cast<std::size_t>(blocks));
  parallel_for(blocks, threads, [&](std::int64_t block, int) {
    const std::int64_t start = block * block_bytes;
    values[static_cast<std::size_t>(block)] = checksum_of_block(data + start, std::min(block_bytes, bytes - start));
  });
  std::uint64_t total = mix(before, static_cast<std::uint64_t>(blocks));
  for (const std::uint64_t value : values) total = mix(total, value);
  return total;
}

}  // namespace gatentk::cpu
