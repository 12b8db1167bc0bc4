// Popcounts of ANDed bits by addition in bit slices: a vector holds one bit of each of its many columns, and a
// carry-save adder adds such vectors up for all columns at once (Harley and Seal; Warren, Hacker's Delight, 5-2).
// Vectors of neurons that are off are not touched, and a neuron that is on in several rows of a group is added once for
// all of them: it goes to the sum of its pattern, of 15, and the sums of the patterns that hold a row make the row's
// count.
#pragma once

#include <cstdint>

#include "cpu/gate_lists.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/plan.hpp"
#include "cpu/simd.hpp"

namespace gatentk::cpu::GATENTK_ISA {

using Slice = Vector<std::uint64_t>;  // one bit of every column of a panel

constexpr int gate_columns = 8 * GATENTK_VECTOR_BYTES;
constexpr int gate_block = gate_block_bytes / GATENTK_VECTOR_BYTES;

// a + b + sum of single bits: the low bits replace `sum`, the high bits are returned.
static GATENTK_INLINE Slice carry_save(Slice& sum, Slice a, Slice b) {
#if GATENTK_VECTOR_BYTES == 64 && defined(__AVX512F__)
  const __m512i old = (__m512i)sum;
  sum = (Slice)_mm512_ternarylogic_epi64(old, (__m512i)a, (__m512i)b, 0x96);
  return (Slice)_mm512_ternarylogic_epi64(old, (__m512i)a, (__m512i)b, 0xe8);
#else
  const Slice differ = a ^ b;
  const Slice carry = (a & b) | (differ & sum);
  sum ^= differ;
  return carry;
#endif
}

static GATENTK_INLINE bool any_bit(Slice v) {
#if GATENTK_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return _mm512_test_epi64_mask((__m512i)v, (__m512i)v);
#elif GATENTK_VECTOR_BYTES == 32 && defined(__AVX2__)
  return !_mm256_testz_si256((__m256i)v, (__m256i)v);
#else
  std::uint64_t bits = 0;
  for (int lane = 0; lane < Simd<std::uint64_t>::lanes; ++lane) bits |= v[lane];
  return bits;
#endif
}

static GATENTK_INLINE Slice slice_at(const std::byte* panel, std::uint16_t offset) {
  return *reinterpret_cast<const Slice*>(panel + offset);
}

// Adds eight vectors of a list; returns the carries, each worth eight.
static GATENTK_INLINE Slice add_eight(const std::byte* panel, const std::uint16_t* offset, Slice& ones, Slice& twos,
                                      Slice& fours) {
  Slice a = carry_save(ones, slice_at(panel, offset[0]), slice_at(panel, offset[1]));
  Slice b = carry_save(ones, slice_at(panel, offset[2]), slice_at(panel, offset[3]));
  const Slice first = carry_save(twos, a, b);
  a = carry_save(ones, slice_at(panel, offset[4]), slice_at(panel, offset[5]));
  b = carry_save(ones, slice_at(panel, offset[6]), slice_at(panel, offset[7]));
  return carry_save(fours, first, carry_save(twos, a, b));
}

// One bit of weight 2^plane more; returns the carries.
static GATENTK_INLINE Slice add_at(Slice* planes, int plane, Slice carry) {
  const Slice before = planes[plane];
  planes[plane] = before ^ carry;
  return before & carry;
}

static void add_lists(const std::byte* panel, const GateLists& lists, std::int64_t plane_count, std::byte* sums) {
  const std::uint16_t* offset = lists.offsets;
  Slice* planes = reinterpret_cast<Slice*>(sums);
  for (int pattern = 1; pattern <= all_on; ++pattern, planes += plane_count) {
    int eights_left = lists.eights[pattern];
    if (!eights_left) continue;
    Slice ones = planes[0], twos = planes[1], fours = planes[2], eights = planes[3], sixteens = planes[4];
    for (; eights_left >= 4; eights_left -= 4, offset += 32) {
      Slice a = add_eight(panel, offset, ones, twos, fours);
      Slice b = add_eight(panel, offset + 8, ones, twos, fours);
      const Slice first = carry_save(eights, a, b);
      a = add_eight(panel, offset + 16, ones, twos, fours);
      b = add_eight(panel, offset + 24, ones, twos, fours);
      Slice carry = carry_save(sixteens, first, carry_save(eights, a, b));
      carry = add_at(planes, 6, add_at(planes, 5, carry));
      for (int plane = 7; any_bit(carry); ++plane) carry = add_at(planes, plane, carry);
    }
    for (; eights_left > 0; --eights_left, offset += 8) {
      Slice carry = add_eight(panel, offset, ones, twos, fours);
      Slice next = eights & carry;
      eights ^= carry;
      carry = sixteens & next;
      sixteens ^= next;
      for (int plane = 5; any_bit(carry); ++plane) carry = add_at(planes, plane, carry);
    }
    planes[0] = ones, planes[1] = twos, planes[2] = fours, planes[3] = eights, planes[4] = sixteens;
  }
}

static void make_lists(const std::uint8_t* const* rows, std::int64_t bytes, GateLists* lists) {
  std::uint16_t sorted[all_on + 1][gate_block + 8];
  std::uint16_t* end[all_on + 1];
  for (int pattern = 0; pattern <= all_on; ++pattern) end[pattern] = sorted[pattern];
  std::uint16_t offset = 0;
  for (std::int64_t b = 0; b < bytes; ++b) {
    std::uint64_t patterns = spread_bits(rows[0][b]) | spread_bits(rows[1][b]) << 1 | spread_bits(rows[2][b]) << 2 |
                             spread_bits(rows[3][b]) << 3;
    for (int bit = 0; bit < 8; ++bit, patterns >>= 8, offset += GATENTK_VECTOR_BYTES) *end[patterns & 15]++ = offset;
  }
  std::uint16_t* out = lists->offsets;
  for (int pattern = 1; pattern <= all_on; ++pattern) {
    while ((end[pattern] - sorted[pattern]) % 8) *end[pattern]++ = gate_block_bytes;  // a vector of zeros
    const std::int64_t count = end[pattern] - sorted[pattern];
    lists->eights[pattern] = static_cast<std::uint16_t>(count / 8);
    for (std::int64_t i = 0; i < count; i += 8) __builtin_memcpy(out + i, sorted[pattern] + i, 16);
    out += count;
  }
}

// a += b, numbers in bit slices.
static GATENTK_INLINE void add_planes(Slice* a, const Slice* b, std::int64_t plane_count) {
  Slice carry{};
  for (std::int64_t plane = 0; plane < plane_count; ++plane) carry = carry_save(a[plane], b[plane], carry);
}

// Bytes of 0 or 255, one for each of the bits first .. first + GATENTK_VECTOR_BYTES of a slice.
static GATENTK_INLINE Vector<std::uint8_t> spread_slice(const Slice& slice, int first) {
  using Bytes = Vector<std::uint8_t>;
  const std::uint8_t* bits = reinterpret_cast<const std::uint8_t*>(&slice) + first / 8;
#if GATENTK_VECTOR_BYTES == 64 && defined(__AVX512BW__)
  std::uint64_t word;
  __builtin_memcpy(&word, bits, 8);
  return (Bytes)_mm512_movm_epi8(word);
#elif GATENTK_VECTOR_BYTES == 32 && defined(__AVX2__)
  std::int32_t word;
  __builtin_memcpy(&word, bits, 4);
  const __m256i byte_of =
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);  // of a lane
  const __m256i bit_of = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201u));
  const __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(word), byte_of), bit_of);
  return (Bytes)_mm256_cmpeq_epi8(spread, bit_of);
#else
  Bytes bytes;
  for (int lane = 0; lane < GATENTK_VECTOR_BYTES; lane += 8) {
    const std::uint64_t word = spread_bits(bits[lane / 8]) * 255;
    __builtin_memcpy(reinterpret_cast<std::uint8_t*>(&bytes) + lane, &word, 8);
  }
  return bytes;
#endif
}

// counts[gate_columns] = the number in bit slices.
static void read_planes(const Slice* planes, std::int64_t plane_count, std::int32_t* counts) {
  alignas(GATENTK_VECTOR_BYTES) std::uint8_t bytes[4][gate_columns] = {};
  for (std::int64_t low = 0; low < plane_count; low += 8)
    for (int first = 0; first < gate_columns; first += GATENTK_VECTOR_BYTES) {
      Vector<std::uint8_t> value{};
      const std::int64_t count = plane_count - low < 8 ? plane_count - low : 8;
      for (std::int64_t plane = 0; plane < count; ++plane) {
        const std::uint8_t weight = static_cast<std::uint8_t>(1 << plane);
        value |= spread_slice(planes[low + plane], first) & broadcast(weight);
      }
      store(bytes[low / 8] + first, value);
    }
  if (plane_count <= 16) {
    for (int c = 0; c < gate_columns; ++c) counts[c] = bytes[0][c] | bytes[1][c] << 8;
  } else {
    for (int c = 0; c < gate_columns; ++c)
      counts[c] = static_cast<std::int32_t>(bytes[0][c] | bytes[1][c] << 8 | bytes[2][c] << 16 |
                                            static_cast<std::uint32_t>(bytes[3][c]) << 24);
  }
}

static void read_counts(std::byte* sums, std::int64_t plane_count, std::int32_t* counts, std::int64_t stride) {
  Slice* planes = reinterpret_cast<Slice*>(sums);
  const auto of = [&](int pattern) { return planes + (pattern - 1) * plane_count; };
  for (int row = group_rows - 1; row >= 0; --row) {
    // Patterns above 2^row hold this row and others: they go to its total, and on to the others' patterns.
    const int own = 1 << row;
    for (int pattern = own + 1; pattern < 2 * own; ++pattern) {
      add_planes(of(own), of(pattern), plane_count);
      add_planes(of(pattern - own), of(pattern), plane_count);
    }
    read_planes(of(own), plane_count, counts + row * stride);
  }
}

static GateGramKernels gate_gram_kernels() {
  return {gate_columns, gate_block, make_lists, add_lists, read_counts};
}

}  // namespace gatentk::cpu::GATENTK_ISA
