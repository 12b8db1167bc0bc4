// Kernels of products with gates of blocks of neurons: a dense tile of the weight times the rows of a list.
#pragma once

#include <cstdint>

#include "cpu/block_tile.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/registers.hpp"
#include "cpu/simd.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// Vectors of a row that a micro-tile is wide, and its rows: sums, a row of the weight and a factor fill the registers,
// 32 of them where vectors have 64 bytes and 16 elsewhere. Addresses of the rows have to stay in registers, too.
constexpr int widest_tile = GATENTK_VECTOR_BYTES == 64 ? 4 : 2;
constexpr int tile_rows_of(int vectors) {
  if (GATENTK_VECTOR_BYTES == 64) return vectors == 4 ? 6 : 8;
  return vectors == 2 ? 6 : 8;
}

// Addresses that must stay in registers, as Sums.
template <class T, int count>
struct Addresses : Addresses<T, count - 1> {
  T* last;
};
template <class T>
struct Addresses<T, 0> {};
template <int index, class T, int count>
static GATENTK_INLINE T*& address_at(Addresses<T, count>& addresses) {
  return static_cast<Addresses<T, index + 1>&>(addresses).last;
}

// Lists

#if defined(__AVX2__) && GATENTK_VECTOR_BYTES == 32
struct BitPositions {
  std::uint8_t of[256][8];
  constexpr BitPositions() : of() {
    for (int byte = 0; byte < 256; ++byte) {
      int count = 0;
      for (int bit = 0; bit < 8; ++bit)
        if (byte >> bit & 1) of[byte][count++] = static_cast<std::uint8_t>(bit);
    }
  }
};
static constexpr BitPositions bit_positions;
#endif

// Numbers of the bits that are set in both; `ids` has room for 16 more. Returns how many.
static std::int64_t list_common(const std::uint64_t* a, const std::uint64_t* b, std::int64_t words, std::int32_t* ids) {
  std::int32_t* to = ids;
#if defined(__AVX512F__) && GATENTK_VECTOR_BYTES == 64
  __m512i numbers = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (std::int64_t w = 0; w < words; ++w) {
    const std::uint64_t word = a[w] & b[w];
    for (int part = 0; part < 64; part += 16) {
      const __mmask16 mask = static_cast<__mmask16>(word >> part);
      _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(mask, numbers));
      to += __builtin_popcount(mask);
      numbers = _mm512_add_epi32(numbers, _mm512_set1_epi32(16));
    }
  }
#elif defined(__AVX2__) && GATENTK_VECTOR_BYTES == 32
  __m256i base = _mm256_setzero_si256();
  for (std::int64_t w = 0; w < words; ++w) {
    const std::uint64_t word = a[w] & b[w];
    for (int part = 0; part < 64; part += 8) {
      const std::uint8_t byte = static_cast<std::uint8_t>(word >> part);
      const __m128i positions = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bit_positions.of[byte]));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_add_epi32(_mm256_cvtepu8_epi32(positions), base));
      to += __builtin_popcount(byte);
      base = _mm256_add_epi32(base, _mm256_set1_epi32(8));
    }
  }
#else
  for (std::int64_t w = 0; w < words; ++w)
    for (std::uint64_t word = a[w] & b[w]; word; word &= word - 1)
      *to++ = static_cast<std::int32_t>(64 * w + __builtin_ctzll(word));
#endif
  return to - ids;
}

// Tiles of the weight

// tile[k][c] = weight[k][c], or weight[c][k] if it is transposed; rows are filled up with zeros to whole vectors.
template <class T>
static void pack_tile(const T* weight, std::int64_t stride, bool transposed, std::int64_t depth, std::int64_t columns,
                      T* tile) {
  constexpr int lanes = Simd<T>::lanes;
  const std::int64_t padded = (columns + lanes - 1) / lanes * lanes;
  if (!transposed) {
    for (std::int64_t k = 0; k < depth; ++k, weight += stride, tile += padded) {
      std::int64_t c = 0;
      for (; c + lanes <= columns; c += lanes) store(tile + c, load(weight + c));
      for (; c < columns; ++c) tile[c] = weight[c];
      for (; c < padded; ++c) tile[c] = 0;
    }
    return;
  }
  for (std::int64_t c = 0; c < padded; c += lanes) {
    std::int64_t k = 0;
    for (; c + lanes <= columns && k + lanes <= depth; k += lanes) {
      Vector<T> square[lanes];
#pragma GCC unroll 16
      for (int r = 0; r < lanes; ++r) square[r] = load(weight + (c + r) * stride + k);
      transpose<T>(square);
#pragma GCC unroll 16
      for (int r = 0; r < lanes; ++r) store(tile + (k + r) * padded + c, square[r]);
    }
    for (; k < depth; ++k)
      for (int r = 0; r < lanes; ++r) tile[k * padded + c + r] = c + r < columns ? weight[(c + r) * stride + k] : T(0);
  }
}

// Asks for a share of what is needed soon at each of `calls` calls: all at once would fill the queues of misses.
class Fetch {
 public:
  GATENTK_INLINE Fetch(const Needs& needs, std::int64_t calls)
      : first_(needs.first, calls), second_(needs.second, calls) {}
  GATENTK_INLINE void next() {
    first_.next();
    second_.next();
  }

 private:
  struct Part {
    GATENTK_INLINE Part(const Ahead& part, std::int64_t calls)
        : ahead(part), row(part.row), end(part.row + part.rows), share((part.rows + calls - 1) / calls) {}
    GATENTK_INLINE void next() {
      const std::int64_t stop = end - row < share ? end : row + share;
      for (; row < stop; ++row) {
        if (ahead.bits && !(ahead.bits[row / 64] >> (row % 64) & 1)) continue;
        const char* from = static_cast<const char*>(ahead.first) + row * ahead.stride;
        for (std::int64_t at = 0; at < ahead.bytes; at += 64) __builtin_prefetch(from + at, 0, 2);
      }
    }
    const Ahead& ahead;
    std::int64_t row, end, share;
  };
  Part first_, second_;
};

template <class T, int rows, int vectors>
static GATENTK_INLINE void multiply_micro_tile(const BlockTile<T>& tile, const std::int32_t* ids, std::int64_t column) {
  constexpr int lanes = Simd<T>::lanes;
  Addresses<const T, rows> z;
  unrolled<rows>([&](auto r) __attribute__((always_inline)) {
    address_at<r.index>(z) = tile.z + ids[r.index] * tile.z_stride;
  });
  Sums<T, rows * vectors> sums;
  unrolled<rows * vectors>([&](auto v) __attribute__((always_inline)) { sum_at<v.index>(sums) = Vector<T>{}; });
  const T* weight = tile.weight + column;
  const std::int64_t depth = tile.depth, stride = tile.weight_stride;
#pragma GCC unroll 2
  for (std::int64_t k = 0; k < depth; ++k, weight += stride) {
    Sums<T, vectors> row;
    unrolled<vectors>([&](auto v)
                          __attribute__((always_inline)) { sum_at<v.index>(row) = load(weight + v.index * lanes); });
    unrolled<rows>([&](auto r) __attribute__((always_inline)) {
      const Vector<T> factor = broadcast(address_at<r.index>(z)[k]);
      unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
        sum_at<r.index * vectors + v.index>(sums) += factor * sum_at<v.index>(row);
      });
    });
  }
  unrolled<rows>([&](auto r) __attribute__((always_inline)) {
    T* out = tile.out + ids[r.index] * tile.out_stride + column;
    unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
      store(out + v.index * lanes, load(out + v.index * lanes) + sum_at<r.index * vectors + v.index>(sums));
    });
  });
}

template <class T, int vectors>
static void multiply_rows(const BlockTile<T>& tile, const std::int32_t* ids, std::int64_t rows, std::int64_t column) {
  constexpr int most = tile_rows_of(vectors);
  switch (rows) {
    case 1:
      return multiply_micro_tile<T, 1, vectors>(tile, ids, column);
    case 2:
      return multiply_micro_tile<T, 2, vectors>(tile, ids, column);
    case 3:
      return multiply_micro_tile<T, 3, vectors>(tile, ids, column);
    case 4:
      return multiply_micro_tile<T, 4, vectors>(tile, ids, column);
    case 5:
      return multiply_micro_tile<T, 5, vectors>(tile, ids, column);
    case 6:
      return multiply_micro_tile<T, 6, vectors>(tile, ids, column);
    default:
      break;
  }
  if constexpr (most > 6) {
    if (rows == 7) return multiply_micro_tile<T, 7, vectors>(tile, ids, column);
    multiply_micro_tile<T, 8, vectors>(tile, ids, column);
  }
}

// Calls f(ids, rows) for groups of at most `most` of the list, of nearly equal size: an element's sum is the same chain
// of roundings in all of them.
template <class Function>
static GATENTK_INLINE void in_groups(const std::int32_t* ids, std::int64_t count, int most, Function&& f) {
  const std::int64_t groups = (count + most - 1) / most;
  for (std::int64_t group = 0, first = 0; group < groups; ++group) {
    const std::int64_t rows = count / groups + (group < count % groups);
    f(ids + first, rows);
    first += rows;
  }
}

template <class T>
static void multiply_tile(const BlockTile<T>& tile, const std::int32_t* ids, std::int64_t count, const Needs& needs) {
  constexpr int lanes = Simd<T>::lanes, most = tile_rows_of(widest_tile);
  const std::int64_t vectors = tile.columns / lanes;
  if (vectors < widest_tile) {
    const std::int64_t groups = (count + tile_rows_of(1) - 1) / tile_rows_of(1);
    Fetch fetch(needs, groups);
    return in_groups(ids, count, tile_rows_of(1), [&](const std::int32_t* some, std::int64_t rows) {
      fetch.next();
      if constexpr (widest_tile == 4) {
        if (vectors == 3) return multiply_rows<T, 3>(tile, some, rows, 0);
        if (vectors == 2) return multiply_rows<T, 2>(tile, some, rows, 0);
      }
      multiply_rows<T, 1>(tile, some, rows, 0);
    });
  }
  const std::int64_t groups = (count + most - 1) / most;
  Fetch fetch(needs, groups);
  in_groups(ids, count, most, [&](const std::int32_t* some, std::int64_t rows) {
    fetch.next();
    std::int64_t v = 0;
    for (; v + widest_tile <= vectors; v += widest_tile) multiply_rows<T, widest_tile>(tile, some, rows, v * lanes);
    if constexpr (widest_tile == 4) {
      if (vectors - v == 3) return multiply_rows<T, 3>(tile, some, rows, v * lanes);
      if (vectors - v == 2) return multiply_rows<T, 2>(tile, some, rows, v * lanes);
    }
    if (v < vectors) multiply_rows<T, 1>(tile, some, rows, v * lanes);
  });
}

// A single sample: out[r] = sum over the neurons of all segments of z times row r of the weight.
template <class T, int rows>
static GATENTK_INLINE void dot_rows(const T* z, const Segment* segments, std::int64_t count, const T* weight,
                                    std::int64_t stride, T* out) {
  constexpr int lanes = Simd<T>::lanes, side = 2;
  Sums<T, rows * side> sums;
  T rest[rows] = {};
  unrolled<rows * side>([&](auto v) __attribute__((always_inline)) { sum_at<v.index>(sums) = Vector<T>{}; });
  for (std::int64_t s = 0; s < count; ++s) {
    const std::int64_t end = segments[s].first + segments[s].count;
    std::int64_t k = segments[s].first;
    for (; k + side * lanes <= end; k += side * lanes)
      unrolled<rows * side>([&](auto v) __attribute__((always_inline)) {
        constexpr int r = v.index / side, part = v.index % side * lanes;
        sum_at<v.index>(sums) += load(z + k + part) * load(weight + r * stride + k + part);
      });
    for (; k + lanes <= end; k += lanes)
      unrolled<rows>([&](auto r) __attribute__((always_inline)) {
        sum_at<r.index * side>(sums) += load(z + k) * load(weight + r.index * stride + k);
      });
    for (; k < end; ++k)
      for (int r = 0; r < rows; ++r) rest[r] += z[k] * weight[r * stride + k];
  }
  unrolled<rows>([&](auto r) __attribute__((always_inline)) {
    out[r.index] = horizontal_sum<T>(sum_at<r.index * side>(sums) + sum_at<r.index * side + 1>(sums)) + rest[r.index];
  });
}

template <class T>
static void dot_segments(const T* z, const Segment* segments, std::int64_t count, const T* weight, std::int64_t stride,
                         std::int64_t rows, T* out) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) dot_rows<T, 4>(z, segments, count, weight + r * stride, stride, out + r);
  for (; r < rows; ++r) dot_rows<T, 1>(z, segments, count, weight + r * stride, stride, out + r);
}

}  // namespace gatentk::cpu::GATENTK_ISA
