// The samples for which a unit is on, and those for which it is off, as lists.
#pragma once

#include <cstdint>

#include "cuda/block_matmul/configurations.hpp"
#include "cuda/device/lanes.cuh"
#include "cuda/device/shared.cuh"

namespace gatentk::cuda {

struct ListArguments {
  const unsigned* bits;  // [units][stride]: bit i of a row: whether the unit is on for sample i
  std::int64_t stride;   // in words
  int n, pieces;         // samples; blocks for a unit
  int* lists;            // [units][n + 1]
};

// Every block counts the whole row for itself, 4 KB for 32,768 samples, so that none waits for another.
__global__ void __launch_bounds__(list_threads) block_lists_kernel(const ListArguments a) {
  constexpr int warps = list_threads / 32, words_of_warp = list_words / warps;
  static_assert(words_of_warp <= 32);
  SharedArena arena;
  const Shared<int> totals = arena.take<int>(warps), before = arena.take<int>(warps), own = arena.take<int>(warps);
  const int lane = lane_index(), warp = warp_index();
  const int unit = static_cast<int>(blockIdx.x) / a.pieces;
  const int first = static_cast<int>(blockIdx.x) % a.pieces * list_words;
  const unsigned* row = a.bits + unit * a.stride;
  const auto word_at = [&](int w) { return row[w] & low_bits(a.n - 32 * w); };
  const int words = a.n / 32 + (a.n % 32 != 0);

  // What is on: in all, and before this block's words; and by warp in these.
  int total = 0, earlier = 0;
  for (int w = static_cast<int>(threadIdx.x); w < words; w += list_threads) {
    const int count = __popc(word_at(w));
    total += count;
    if (w < first) earlier += count;
  }
  const int mine = first + warp * words_of_warp + lane;
  const unsigned word = lane < words_of_warp && mine < words ? word_at(mine) : 0u;
  int until = __popc(word);  // on in the warp's words up to this lane's
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int left = __shfl_up_sync(all_lanes, until, static_cast<unsigned>(step));
    if (lane >= step) until += left;
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    total += __shfl_xor_sync(all_lanes, total, step);
    earlier += __shfl_xor_sync(all_lanes, earlier, step);
  }
  if (lane == 0) totals[warp] = total, before[warp] = earlier;
  if (lane == 31) own[warp] = until;
  __syncthreads();
  int all = 0, start = 0;
#pragma unroll
  for (int w = 0; w < warps; ++w) {
    all += totals[w];
    start += before[w] + (w < warp ? own[w] : 0);
  }

  int* list = a.lists + static_cast<std::int64_t>(unit) * (std::int64_t{a.n} + 1);
  if (first == 0 && threadIdx.x == 0) list[0] = all;
#pragma unroll 1
  for (int w = 0; w < words_of_warp; ++w) {
    const unsigned bits = __shfl_sync(all_lanes, word, w);
    const int on_before = start + __shfl_sync(all_lanes, until, w) - __popc(bits) + __popc(bits & low_bits(lane));
    const int sample = 32 * (first + warp * words_of_warp + w) + lane;
    if (sample < a.n) list[1 + (bits >> lane & 1u ? on_before : all + sample - on_before)] = sample;
  }
}

}  // namespace gatentk::cuda
