// Arithmetic and tile configurations of the matrix products, and the pure function that chooses among a table's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "cuda/device/device.hpp"

namespace gatentk::cuda {

// How a product multiplies and sums. fma: fused multiply-adds on the ordinary cores; tf32x3: every float as the sum of
// two TF32 numbers, three tensor-core products; tf32: one, of rounded floats; f64, bf16: tensor cores of that type.
enum class Arithmetic { fma, tf32x3, tf32, f64, bf16 };

// What a caller asks of products of floats.
enum class Precision { strict, tf32x3, tf32 };

// tf32x3 is less accurate than twice torch's error in sums of fewer than 16 products: root mean squares over a matrix
// of Gaussian numbers are 1.6 times torch's at 16, 2.1 at 8, 4.4 of a single product. 64 columns have that many where
// half of the gates of both factors are off, which the kernels do not know; with all gates on the ratio is 0.9 there.
constexpr std::int64_t min_tf32x3_width = 64;

// What computes products of floats over `width` columns; none at all are exact anyway.
constexpr Arithmetic arithmetic_of(Precision precision, std::int64_t width) {
  switch (precision) {
    case Precision::tf32:
      return Arithmetic::tf32;
    case Precision::tf32x3:
      return width == 0 || width >= min_tf32x3_width ? Arithmetic::tf32x3 : Arithmetic::fma;
    default:
      return Arithmetic::fma;
  }
}

// Bytes of a row of a tile in shared memory: 64 bfloat16, 32 float or 16 double elements along k.
constexpr int tile_row_bytes = 128;

// A block computes rows x columns outputs with warps_down x warps_across warps; `stages` tiles of both factors lie in
// shared memory. `resident` are the blocks that one multiprocessor of sm_80 and of sm_90 or sm_100 holds, limited by
// shared memory (164 and 228 KB, of which each block takes 1 KB more than it asks for) and by registers.
struct TileConfiguration {
  const char* name;
  Arithmetic arithmetic;
  int rows, columns;
  int warps_down, warps_across;
  int stages;
  int resident_80, resident_90;

  // Whether a second set of sums, of 4 or 8 bytes, lies in shared memory.
  constexpr bool flushes() const { return arithmetic != Arithmetic::tf32 && arithmetic != Arithmetic::bf16; }
  constexpr int sum_bytes() const { return rows * columns * (arithmetic == Arithmetic::f64 ? 8 : 4); }
  constexpr int threads() const { return 32 * warps_down * warps_across; }
  constexpr int stage_bytes() const { return (rows + columns) * tile_row_bytes; }
  constexpr int resident(int architecture) const { return architecture >= 90 ? resident_90 : resident_80; }
};

// The configuration of `arithmetic` that starts on the device and computes rows x columns outputs, or of these the
// upper triangle, in the least time, counted in rounds of blocks over the whole GPU. A round takes as long as the
// outputs of a multiprocessor; small tiles read every factor twice as often from L2 and count as if they reached
// `small_speed` of the speed of large ones. Where none starts, the one that asks for the least shared memory.
template <std::size_t count>
constexpr int choose_tile(const TileConfiguration (&table)[count], int (*shared_bytes)(const TileConfiguration&),
                          Arithmetic arithmetic, const Device& device, std::int64_t rows, std::int64_t columns,
                          bool triangle = false) {
  constexpr double small_speed = 0.75;
  int best = -1, least = -1, largest = 0;
  double best_time = 0;
  for (int i = 0; i < static_cast<int>(count); ++i) {
    const TileConfiguration& tile = table[i];
    if (tile.arithmetic != arithmetic) continue;
    if (least < 0 || shared_bytes(tile) < shared_bytes(table[least])) least = i;
    const int held = device.blocks_with(shared_bytes(tile));
    if (held == 0) continue;
    const int area = tile.rows * tile.columns;
    largest = area > largest ? area : largest;
    const std::int64_t down = (rows + tile.rows - 1) / tile.rows, across = (columns + tile.columns - 1) / tile.columns;
    const std::int64_t blocks = triangle ? down * (down + 1) / 2 : down * across;
    // Blocks that a multiprocessor computes; those that it holds at once share its speed.
    const std::int64_t share = (blocks + device.multiprocessors - 1) / device.multiprocessors;
    const std::int64_t resident = tile.resident(device.architecture) < held ? tile.resident(device.architecture) : held;
    const std::int64_t together = share < resident ? share : resident;
    const std::int64_t rounds = together ? (share + together - 1) / together : 0;
    const double time = static_cast<double>(rounds * together * area) / (area < largest ? small_speed : 1.0);
    if (best < 0 || time < best_time) best = i, best_time = time;
  }
  return best < 0 ? least : best;
}

// Throws std::invalid_argument if `configuration` is no index of a tile of `arithmetic`.
template <std::size_t count>
void check_configuration(const TileConfiguration (&table)[count], int configuration, Arithmetic arithmetic) {
  if (configuration < 0 || configuration >= static_cast<int>(count) || table[configuration].arithmetic != arithmetic)
    throw std::invalid_argument("configuration: " + std::to_string(configuration) +
                                " is not in the table, or for another dtype or precision");
}

}  // namespace gatentk::cuda
