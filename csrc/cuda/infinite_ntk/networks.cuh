// Kernels of pairs of samples of networks with weight and bias variances: as in sweep.cuh a block multiplies a tile of
// samples, then every warp takes strips of it through all layers in registers and writes each wanted depth on the way.
#pragma once

#include "cuda/infinite_ntk/network_layers.cuh"
#include "cuda/infinite_ntk/walk.cuh"

namespace gatentk::cuda {

// A strip of a network's pairs before the first activation, behind slice 0.
template <class T, int side>
class NetworkStrip {
 public:
  __device__ __forceinline__ NetworkStrip(const NetworkArguments<T>& arguments, const PairStrip<T, side>& pairs)
      : a(arguments), pairs_(pairs) {
    Strip<T> none;
    pairs_.input_angles(angles.eps, angles.obtuse);
#pragma unroll
    for (int v = 0; v < strip; ++v) total[v] = none[v] = T(0);
    add_layer<T>(slice(0), T(0), T(0), none, angles, total);
  }

  __device__ __forceinline__ bool biased() const { return a.rows.data; }

  __device__ __forceinline__ StripSlice<T> slice(std::int64_t index) const {
    return biased() ? StripSlice<T>(a, pairs_.row(), pairs_.column(), index) : StripSlice<T>();
  }

  // The sum so far, times the norms of the samples' pre-activations in that slice.
  __device__ __forceinline__ void write(int output, const StripSlice<T>& norms) const {
    Strip<T> value;
    const T column = norms.column_size();
#pragma unroll
    for (int v = 0; v < strip; ++v) value[v] = norms.row_size(v) * column * total[v];
    pairs_.write(output, value, false);
  }

  // The sum so far, times the norms of the samples themselves.
  __device__ __forceinline__ void write(int output, T scale) const {
    Strip<T> value;
#pragma unroll
    for (int v = 0; v < strip; ++v) value[v] = scale * total[v];
    pairs_.write(output, value, true);
  }

  const NetworkArguments<T>& a;
  StripAngles<T> angles;
  Strip<T> total;

 private:
  const PairStrip<T, side>& pairs_;
};

template <class T, int side>
__device__ __forceinline__ void piecewise_strip(const NetworkArguments<T>& a, const PairStrip<T, side>& pairs) {
  DepthCursor depths(a.pairs.depths);
  NetworkStrip<T, side> own(a, pairs);
  double scale = a.first;
  for (int layer = 0;; ++layer) {
    if (depths.reached(layer)) {
      if (own.biased())
        own.write(depths.next(), own.slice(layer));
      else
        own.write(depths.next(), static_cast<T>(scale));
    }
    if (layer >= depths.last()) break;
    Strip<T> tau;
    activate<T>(a.bend, own.angles, tau);
    add_layer<T>(own.slice(layer + 1), a.keep, -a.keep * a.bend, tau, own.angles, own.total);
    scale *= a.gain;
  }
}

template <int side>
__device__ __forceinline__ void smooth_strip(const NetworkArguments<double>& a, const PairStrip<double, side>& pairs) {
  DepthCursor depths(a.pairs.depths);
  NetworkStrip<double, side> own(a, pairs);
  for (int layer = 0;; ++layer) {
    const std::int64_t bias = 2 * std::int64_t{layer};
    if (depths.reached(layer)) own.write(depths.next(), own.slice(bias));
    if (layer >= depths.last()) break;
    Strip<double> slope;
    if (is_erf(a.quantity))
      activate_erf(own.slice(bias + 1), own.angles, slope);
    else
      activate_gelu(own.slice(bias), own.slice(bias + 1), own.angles, slope);
    add_layer<double>(own.slice(bias + 2), 0, a.keep, slope, own.angles, own.total);
  }
}

template <class T, int side>
__global__ void __launch_bounds__(Layout<T, side>::threads, Layout<T, side>::component_blocks)
    piecewise_network(const NetworkArguments<T> a) {
  for_each_strip<T, side>(a.pairs, [&](const PairStrip<T, side>& pairs) { piecewise_strip<T, side>(a, pairs); });
}

// erf and GELU.
template <class T, int side>
__global__ void __launch_bounds__(Layout<T, side>::threads, Layout<T, side>::smooth_blocks)
    smooth_network(const NetworkArguments<T> a) {
  for_each_strip<T, side>(a.pairs, [&](const PairStrip<T, side>& pairs) { smooth_strip<side>(a, pairs); });
}

}  // namespace gatentk::cuda
