// What the layers of a network ask of each sample: its norm, slices, and the diagonal that follows from them.
#pragma once

#include "cuda/device/lanes.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/infinite_ntk/network_arguments.cuh"
#include "cuda/infinite_ntk/walk.cuh"

namespace gatentk::cuda {

// Where the numbers of a sample go.
template <class T>
class SampleSink {
 public:
  __device__ __forceinline__ SampleSink(const SampleArguments<T>& arguments, std::int64_t sample)
      : a_(arguments), sample_(sample), depths_(arguments.depths) {}

  __device__ __forceinline__ bool wants_slices() const { return a_.table.data; }

  __device__ __forceinline__ void slice(std::int64_t index, const double (&fields)[network_fields]) const {
    SliceFields<T> own;
#pragma unroll
    for (int f = 0; f < network_fields - 1; ++f) own.field[f] = static_cast<T>(fields[f]);
    a_.table.fields(index)[sample_] = own;
    a_.table.last_fields(index)[sample_] = static_cast<T>(fields[network_fields - 1]);
  }

  __device__ __forceinline__ void layer(std::int64_t layer, double covariance, double kernel) {
    if (!depths_.reached(static_cast<int>(layer))) return;
    const int output = depths_.next();
    if (!a_.out || sample_ >= a_.rows) return;
    a_.out[output * a_.out_slice + sample_ * (a_.out_stride + 1)] =
        static_cast<T>(is_nngp(a_.walk.quantity) ? covariance : kernel);
  }

 private:
  const SampleArguments<T>& a_;
  std::int64_t sample_;
  DepthCursor depths_;
};

// The sum of the squares of a row in twice the digits, in all lanes.
template <class T>
__device__ __forceinline__ WideDouble squared_norm_of_warp(const T* row, std::int64_t width) {
  WideDouble sum{0, 0};
  for (std::int64_t k = lane_index(); k < width; k += 32) sum = add_square(sum, row[k]);
  sum = ordered_sum(sum.high, sum.low);
  for (int step = 16; step > 0; step /= 2) {
    const double high = __shfl_xor_sync(all_lanes, sum.high, step), low = __shfl_xor_sync(all_lanes, sum.low, step);
    sum = plus(sum, WideDouble{high, low});
  }
  return sum;
}

template <class T>
__global__ void __launch_bounds__(network_sample_threads) network_samples(const SampleArguments<T> a) {
  SharedArena arena;
  const Shared<double> high = arena.take<double>(samples_per_block), low = arena.take<double>(samples_per_block);
  const std::int64_t first = std::int64_t{blockIdx.x} * samples_per_block;
  const int lane = lane_index();
#pragma unroll 1
  for (int s = warp_index(); s < samples_per_block; s += network_sample_threads / 32) {
    const std::int64_t row = first + s;
    const WideDouble squared = row < a.rows ? squared_norm_of_warp(a.data + row * a.stride, a.width) : WideDouble{0, 0};
    if (lane == 0) {
      high[s] = squared.high;
      low[s] = squared.low;
    }
  }
  __syncthreads();
  if (warp_index() != 0) return;
  const WideDouble squared{high[lane], low[lane]};
  const std::int64_t sample = first + lane;
  if (sample < a.rows) {
    a.norm[sample] = static_cast<T>(sqrt(squared.high));
    // A row of zeros is at a right angle to all others; what follows multiplies by its norm, or by a share of 0.
    a.inverse[sample] = static_cast<T>(squared.high == 0 ? 0 : 1 / sqrt(squared.high));
  }
  SampleSink<T> sink(a, sample);
  walk_layers<T>(a.walk, squared, sink);
}

}  // namespace gatentk::cuda
