#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/block_tiles.hpp"
#include "cpu/blocks.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/parallel.hpp"

namespace gatentk::cpu {

namespace {

// Values that a task takes: enough to outweigh handing it out.
constexpr std::int64_t task_values = 32768;

// Blocks of whole bytes up to this size are masked by bits of their neurons: vectors do not care where a block ends.
constexpr std::int64_t longest_expanded = 128;

// Bits of a unit's neurons, as one word.
template <class Word>
void expand_words(const std::uint8_t* bits, std::int64_t units, std::uint8_t* out) {
  for (std::int64_t u = 0; u < units; ++u, out += sizeof(Word)) {
    const auto word = static_cast<Word>(-static_cast<Word>(bits[u / 8] >> (u % 8) & 1));
    std::memcpy(out, &word, sizeof word);
  }
}

// Bits of neurons, `bytes` whole bytes for each unit.
void expand(const std::uint8_t* bits, std::int64_t units, std::int64_t bytes, std::uint8_t* out) {
  if (bytes == 1) return expand_words<std::uint8_t>(bits, units, out);
  if (bytes == 2) return expand_words<std::uint16_t>(bits, units, out);
  if (bytes == 4) return expand_words<std::uint32_t>(bits, units, out);
  if (bytes == 8) return expand_words<std::uint64_t>(bits, units, out);
  for (std::int64_t u = 0; u < units; ++u, out += bytes)
    std::fill(out, out + bytes, static_cast<std::uint8_t>(-(bits[u / 8] >> (u % 8) & 1)));
}

// Bits first..last of a row.
void set_bits(std::uint8_t* row, std::int64_t first, std::int64_t last) {
  for (; first < last && first % 8; ++first) row[first / 8] |= static_cast<std::uint8_t>(1 << first % 8);
  for (; first + 8 <= last; first += 8) row[first / 8] = 0xff;
  for (; first < last; ++first) row[first / 8] |= static_cast<std::uint8_t>(1 << first % 8);
}

// Rows of values where their gates are on; one for each thread that works on some.
template <class T>
class RowGate {
 public:
  RowGate(const GateView& gates, std::int64_t width, std::int64_t block)
      : gates_(gates), width_(width), block_(block), units_(ceil_div(width, block)) {
    if (block % 8 == 0 && block <= longest_expanded) bits_.resize(static_cast<std::size_t>(units_ * block / 8));
  }

  // to = from where row i is on, else 0; `to` may be `from`.
  void write(std::int64_t i, const T* from, T* to) {
    const std::uint8_t* bits = gates_.bits + i * gates_.stride;
    if (!bits_.empty()) {
      expand(bits, units_, block_ / 8, bits_.data());
      bits = bits_.data();
    }
    if (!bits_.empty() || block_ == 1) return product_kernels<T>(kernels()).write_row(from, width_, bits, 0, to);
    for (std::int64_t first = 0, u = 0; first < width_; first += block_, ++u) {
      const std::int64_t extent = std::min(block_, width_ - first);
      if (!(bits[u / 8] >> (u % 8) & 1))
        std::fill(to + first, to + first + extent, T(0));
      else if (from != to)
        std::copy(from + first, from + first + extent, to + first);
    }
  }

 private:
  GateView gates_;
  std::int64_t width_, block_, units_;
  std::vector<std::uint8_t> bits_;
};

// out += row
template <class T>
void add_row(const T* row, std::int64_t width, T* out) {
  const T one = 1;
  product_kernels<T>(kernels()).combine_rows(&row, &one, 1, width, out, true);
}

// Calls f(first, last) for tasks of rows.
template <class Function>
void for_rows(std::int64_t rows, std::int64_t width, int threads, Function&& f) {
  const std::int64_t step = 1 + task_values / (width + 1);
  parallel_for(ceil_div(rows, step), threads,
               [&](std::int64_t task, int) { f(task * step, std::min(rows, (task + 1) * step)); });
}

}  // namespace

void expand_bits(const ExpandBits& problem, int threads) {
  const std::int64_t units = ceil_div(problem.width, problem.block);
  for_rows(problem.rows, problem.width, threads, [&](std::int64_t first, std::int64_t last) {
    // Whole blocks may reach beyond the row.
    std::vector<std::uint8_t> whole(static_cast<std::size_t>(ceil_div(units * problem.block, 8)));
    for (std::int64_t i = first; i < last; ++i) {
      const std::uint8_t* bits = problem.bits + i * problem.bits_stride;
      if (problem.block % 8 == 0) {
        expand(bits, units, problem.block / 8, whole.data());
      } else {
        std::fill(whole.begin(), whole.end(), std::uint8_t{0});
        for (std::int64_t u = 0; u < units; ++u)
          if (bits[u / 8] >> (u % 8) & 1) set_bits(whole.data(), u * problem.block, (u + 1) * problem.block);
      }
      std::uint8_t* out = problem.out + i * problem.out_bytes;
      const std::int64_t used = ceil_div(problem.width, 8);
      std::copy(whole.begin(), whole.begin() + used, out);
      if (problem.width % 8) out[used - 1] &= static_cast<std::uint8_t>((1 << problem.width % 8) - 1);
      std::fill(out + used, out + problem.out_bytes, std::uint8_t{0});
    }
  });
}

template <class T>
void gate_rows(const GateRowsProblem<T>& problem, int threads) {
  for_rows(problem.rows, problem.width, threads, [&](std::int64_t first, std::int64_t last) {
    RowGate<T> gate(problem.gates, problem.width, problem.block);
    for (std::int64_t i = first; i < last; ++i)
      gate.write(i, problem.values + i * problem.values_stride, problem.out + i * problem.out_stride);
  });
}

template <class T>
void add_gated_bias(const GatedBias<T>& problem, int threads) {
  for_rows(problem.rows, problem.width, threads, [&](std::int64_t first, std::int64_t last) {
    RowGate<T> gate(problem.gates, problem.width, problem.block);
    std::vector<T> row(static_cast<std::size_t>(problem.width));
    for (std::int64_t i = first; i < last; ++i) {
      gate.write(i, problem.bias, row.data());
      add_row(row.data(), problem.width, problem.out + i * problem.out_stride);
    }
  });
}

template <class T>
void gated_sums(const GatedSums<T>& problem, int threads) {
  // Rows that are summed on their own: chains of roundings stay short, and sums are the same for all threads.
  constexpr std::int64_t chain = 64;
  const std::int64_t chains = ceil_div(problem.rows, chain);
  const Buffer<T> sums(static_cast<std::size_t>(chains * problem.width));
  parallel_for(chains, threads, [&](std::int64_t c, int) {
    RowGate<T> gate(problem.gates, problem.width, problem.block);
    std::vector<T> row(static_cast<std::size_t>(problem.width));
    T* sum = sums.get() + c * problem.width;
    std::fill(sum, sum + problem.width, T(0));
    for (std::int64_t i = c * chain; i < std::min((c + 1) * chain, problem.rows); ++i) {
      gate.write(i, problem.values + i * problem.values_stride, row.data());
      add_row(row.data(), problem.width, sum);
    }
  });
  std::fill(problem.out, problem.out + problem.width, T(0));
  for (std::int64_t c = 0; c < chains; ++c) add_row(sums.get() + c * problem.width, problem.width, problem.out);
}

template <class T>
void copy_blocks(const BlockView<const T>& from, const BlockView<T>& to, int threads) {
  // Units and rows that are taken at once: lines and pages of both layouts are used while they are at hand.
  constexpr std::int64_t span = 64;
  const std::int64_t units = to.units(), band = std::max<std::int64_t>(1, 512 / to.block);
  const std::int64_t spans = ceil_div(to.rows, span);
  parallel_for(ceil_div(units, band) * spans, threads, [&](std::int64_t task, int) {
    const std::int64_t unit0 = task / spans * band, row0 = task % spans * span;
    for (std::int64_t u = unit0; u < std::min(unit0 + band, units); ++u) {
      const std::int64_t extent = std::min(to.block, to.width - u * to.block);
      for (std::int64_t i = row0; i < std::min(row0 + span, to.rows); ++i) {
        const T* source = from.data + u * from.unit_stride + i * from.row_stride;
        T* target = to.data + u * to.unit_stride + i * to.row_stride;
        if (is_on(to.unit_major, u, i))
          std::copy(source, source + extent, target);
        else
          std::fill(target, target + extent, T(0));
        if (to.padded) std::fill(target + extent, target + to.block, T(0));
      }
    }
  });
}

template void copy_blocks(const BlockView<const float>&, const BlockView<float>&, int);
template void copy_blocks(const BlockView<const double>&, const BlockView<double>&, int);
template void gate_rows(const GateRowsProblem<float>&, int);
template void gate_rows(const GateRowsProblem<double>&, int);
template void add_gated_bias(const GatedBias<float>&, int);
template void add_gated_bias(const GatedBias<double>&, int);
template void gated_sums(const GatedSums<float>&, int);
template void gated_sums(const GatedSums<double>&, int);

}  // namespace gatentk::cpu
