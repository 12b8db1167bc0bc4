#include "cpu/checksum.hpp"

#include <algorithm>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "cpu/parallel.hpp"

namespace gatentk::cpu {

constexpr std::int64_t block_bytes = 65536;

std::uint64_t checksum(const std::uint8_t* data, std::int64_t bytes, std::uint64_t before, int threads) {
  const std::int64_t blocks = (bytes + block_bytes - 1) / block_bytes;
  const auto of_block = kernels().checksum_of_block;
  std::vector<std::uint64_t> values(static_cast<std::size_t>(blocks));
  parallel_for(blocks, threads, [&](std::int64_t block, int) {
    const std::int64_t start = block * block_bytes;
    values[static_cast<std::size_t>(block)] = of_block(data + start, std::min(block_bytes, bytes - start));
  });
  std::uint64_t total = mix(before, static_cast<std::uint64_t>(blocks));
  for (const std::uint64_t value : values) total = mix(total, value);
  return total;
}

}  // namespace gatentk::cpu
