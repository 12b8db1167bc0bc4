// Popcounts of ANDed bits as byte lookups: for four bits of one row a 16-entry table says how many of them another
// row's four bits hit, and one shuffle looks that up for a whole vector of rows.
#pragma once

#include <cstdint>

#include "gatentk/plan.hpp"
#include "registers.hpp"
#include "simd.hpp"

namespace gatentk::GATENTK_ISA {

using Bytes = Vector<std::uint8_t>;

constexpr int gate_vectors = GATENTK_VECTOR_BYTES == 64 ? 6 : 3;
constexpr int gate_columns = gate_vectors * GATENTK_VECTOR_BYTES;

// hits[a][x] = popcount(a & x) for x = 0..15, repeated over a vector: shuffles look up within 16 bytes.
struct HitTables {
  alignas(GATENTK_VECTOR_BYTES) std::uint8_t hits[16][GATENTK_VECTOR_BYTES];

  constexpr HitTables() : hits{} {
    for (int a = 0; a < 16; ++a)
      for (int x = 0; x < GATENTK_VECTOR_BYTES; ++x) {
        const int both = a & x & 15;
        hits[a][x] = static_cast<std::uint8_t>((both & 1) + (both >> 1 & 1) + (both >> 2 & 1) + (both >> 3));
      }
  }
};
constexpr HitTables hit_tables;

// table[index[lane]] in every lane, the table repeated every 16 bytes, indices below 16.
static GATENTK_INLINE Bytes look_up(Bytes table, Bytes index) {
#if GATENTK_VECTOR_BYTES == 64 && defined(__AVX512BW__)
  return (Bytes)_mm512_shuffle_epi8((__m512i)table, (__m512i)index);
#elif GATENTK_VECTOR_BYTES == 32 && defined(__AVX2__)
  return (Bytes)_mm256_shuffle_epi8((__m256i)table, (__m256i)index);
#elif GATENTK_VECTOR_BYTES == 16 && defined(__ARM_NEON)
  return (Bytes)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index);
#else
  Bytes found;
  for (int lane = 0; lane < GATENTK_VECTOR_BYTES; ++lane) found[lane] = table[index[lane]];
  return found;
#endif
}

// Byte counters take 63 lookups of at most 4 before they must be emptied.
constexpr std::int64_t lookups_per_byte = 63;

static GATENTK_INLINE void empty_counters(Bytes counters, std::int32_t* counts) {
  for (int lane = 0; lane < GATENTK_VECTOR_BYTES; ++lane) counts[lane] += counters[lane];
}

static void gate_gram(const std::uint8_t* left, const std::uint8_t* right, std::int64_t nibbles, std::int32_t* counts) {
  while (nibbles > 0) {
    const std::int64_t now = nibbles < lookups_per_byte ? nibbles : lookups_per_byte;
    Sums<std::uint8_t, group_rows * gate_vectors> counters;
    unrolled<group_rows * gate_vectors>([&](auto v)
                                            __attribute__((always_inline)) { sum_at<v.index>(counters) = Bytes{}; });
#pragma GCC unroll 1
    for (std::int64_t k = 0; k < now; ++k, left += group_rows, right += gate_columns)
      unrolled<group_rows>([&](auto r) __attribute__((always_inline)) {
        const Bytes table = *reinterpret_cast<const Bytes*>(hit_tables.hits[left[r.index]]);
        const Bytes* indices = reinterpret_cast<const Bytes*>(right);
        const Bytes* last = indices + gate_vectors - 1;
        forget_value(last);  // read again for every row: kept in a register, it would drive out a counter
        unrolled<gate_vectors>([&](auto v) __attribute__((always_inline)) {
          sum_at<r.index * gate_vectors + v.index>(counters) +=
              look_up(table, v.index == gate_vectors - 1 ? *last : indices[v.index]);
        });
      });
    unrolled<group_rows * gate_vectors>([&](auto v) __attribute__((always_inline)) {
      empty_counters(sum_at<v.index>(counters), counts + v.index * GATENTK_VECTOR_BYTES);
    });
    nibbles -= now;
  }
}

}  // namespace gatentk::GATENTK_ISA
