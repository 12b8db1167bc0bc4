// Packing of masks into bits (LSB first) and back.
#pragma once

#include <cstdint>

#include "cpu/kernel_table.hpp"
#include "cpu/simd.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// Eight bytes, each 0 or not, to one byte: the product gathers the eight flags in the top byte.
static GATENTK_INLINE std::uint8_t gather_bits(const std::uint8_t* mask) {
  std::uint64_t word;
  __builtin_memcpy(&word, mask, 8);
  const std::uint64_t low = 0x7f7f7f7f7f7f7f7fu;
  const std::uint64_t flags = (((word & low) + low) | word) >> 7 & 0x0101010101010101u;
  return static_cast<std::uint8_t>(flags * 0x0102040810204080u >> 56);
}

static void pack_row(const std::uint8_t* mask, std::int64_t width, std::uint8_t* bits) {
  std::int64_t k = 0;
#if GATENTK_VECTOR_BYTES == 32 && defined(__AVX2__)
  for (; k + 32 <= width; k += 32) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(mask + k));
    const __m256i off = _mm256_cmpeq_epi8(bytes, _mm256_setzero_si256());
    const std::uint32_t word = ~static_cast<std::uint32_t>(_mm256_movemask_epi8(off));
    __builtin_memcpy(bits + k / 8, &word, 4);
  }
#elif GATENTK_VECTOR_BYTES == 64 && defined(__AVX512BW__)
  for (; k + 64 <= width; k += 64) {
    const __m512i bytes = _mm512_loadu_si512(mask + k);
    const std::uint64_t word = _mm512_test_epi8_mask(bytes, bytes);
    __builtin_memcpy(bits + k / 8, &word, 8);
  }
#endif
  for (; k + 8 <= width; k += 8) bits[k / 8] = gather_bits(mask + k);
  if (k < width) {
    std::uint8_t last = 0;
    for (int b = 0; k + b < width; ++b) last |= static_cast<std::uint8_t>((mask[k + b] != 0) << b);
    bits[k / 8] = last;
  }
}

static void unpack_row(const std::uint8_t* bits, std::int64_t width, std::uint8_t* mask) {
  std::int64_t k = 0;
  for (; k + 8 <= width; k += 8) {
    const std::uint64_t word = spread_bits(bits[k / 8]);
    __builtin_memcpy(mask + k, &word, 8);
  }
  for (; k < width; ++k) mask[k] = bits[k / 8] >> (k % 8) & 1;
}

static BitKernels bit_kernels() {
  return {pack_row, unpack_row};
}

}  // namespace gatentk::cpu::GATENTK_ISA
