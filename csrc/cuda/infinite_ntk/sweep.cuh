// Infinite-width kernels of pairs of samples: a block multiplies a tile of samples, then every warp takes strips of
// the tile through all layers in registers and writes each wanted depth on the way.
//
// Sums of layers are kept in complements as well, T_l = (l+1) - S_l: T_{l+1} = T_l + tau_l (l + 1 - T_l) + eps_{l+1}.
#pragma once

#include "cuda/infinite_ntk/walk.cuh"
#include "gatentk/angles.hpp"

namespace gatentk::cuda {

// The angle whose cosine is 1 - scale deficit, in half turns.
template <class T>
__device__ __forceinline__ void deficit_angle(T scale, const Strip<T>& deficit, Strip<T>& tau) {
  Strip<T> acute;
#pragma unroll
  for (int v = 0; v < strip; ++v) {
    const T whole = scale * deficit[v];
    acute[v] = at_least_smallest(whole > T(1) ? T(2) - whole : whole);
  }
  half_turns<T, 0>(acute, tau);
#pragma unroll
  for (int v = 0; v < strip; ++v) tau[v] = scale * deficit[v] > T(1) ? T(1) - tau[v] : tau[v];
}

__device__ __forceinline__ bool is_kernel(Quantity quantity) {
  return quantity == Quantity::relu || quantity == Quantity::grelu || quantity == Quantity::grelu_deep ||
         quantity == Quantity::grelu_shallow;
}

__device__ __forceinline__ bool is_deficit(Quantity quantity) {
  return quantity == Quantity::grelu_deep_deficit || quantity == Quantity::grelu_shallow_deficit;
}

// 1 - cos theta_0 at any angle, of an eps that is 1 - |cos theta_0|.
template <class T>
__device__ __forceinline__ void whole_deficit(const Strip<T>& eps, unsigned obtuse, Strip<T>& total) {
#pragma unroll
  for (int v = 0; v < strip; ++v) total[v] = obtuse >> v & 1 ? T(2) - eps[v] : eps[v];
}

// 1 - (1 - total) (1 - other).
template <class T>
__device__ __forceinline__ void add_deficit(const Strip<T>& other, Strip<T>& total) {
#pragma unroll
  for (int v = 0; v < strip; ++v) total[v] += other[v] * (T(1) - total[v]);
}

// An output of a depth: from tau, or from the total of the deficits.
template <class T>
__device__ __forceinline__ void depth_value(Quantity quantity, int depth, const Strip<T>& tau, const Strip<T>& total,
                                            Strip<T>& value) {
  if (is_deficit(quantity)) {
#pragma unroll
    for (int v = 0; v < strip; ++v) value[v] = total[v] <= smallest_angle<T> ? T(0) : total[v];
    return;
  }
  if (is_kernel(quantity)) {
    const T layers = static_cast<T>(quantity == Quantity::relu ? depth + 1 : depth);
    const T scale = quantity == Quantity::relu ? T(1) : layers;
#pragma unroll
    for (int v = 0; v < strip; ++v) value[v] = layers - scale * total[v];
    return;
  }
  if (quantity == Quantity::embedding_angle || depth == 0) {
#pragma unroll
    for (int v = 0; v < strip; ++v) value[v] = tau[v];
  } else {
    deficit_angle<T>(quantity == Quantity::relu_angle ? 1 / static_cast<T>(depth + 1) : T(1), total, value);
  }
#pragma unroll
  for (int v = 0; v < strip; ++v) value[v] = value[v] <= smallest_angle<T> ? T(0) : T(pi) * value[v];
}

// Every depth of a kernel or an angle from one pass over the layers:
//   relu          |x||z| S_l, at l = 0 the Gram matrix itself
//   relu_angle    the angle of the gradients: cos phi = S_l / (l + 1), at l = 0 that of the samples
//   grelu         l |x||z| (1 - u_l), u_0 = eps_1, u_s = u_{s-1} + tau_s (1 - u_{s-1}): the expected GReLU kernel
//   grelu_angle   the angle whose cosine is 1 - u_l
//   embedding_angle   pi tau_l
//   grelu_deep    l |x||z| (1 - u_l), u_{-1} = 1 - cos theta_0, u_s as above from s = 0 on; its deficit is u_l of
//                 u_{-1} = 0
template <class T, int side>
__device__ __forceinline__ void sweep_strip(const PairStrip<T, side>& pairs, Quantity quantity) {
  DepthCursor depths(pairs.a.depths);
  const bool relu = quantity == Quantity::relu || quantity == Quantity::relu_angle;
  const bool own = quantity == Quantity::grelu_deep || quantity == Quantity::grelu_deep_deficit;
  const bool kernel = is_kernel(quantity);
  if (quantity == Quantity::relu && depths.reached(0)) pairs.write_patch(depths.next(), false);
  Strip<T> eps, tau, total;
  unsigned obtuse;
  pairs.input_angles(eps, obtuse);
  whole_deficit<T>(eps, obtuse, total);
  if (is_deficit(quantity)) {
#pragma unroll
    for (int v = 0; v < strip; ++v) total[v] = T(0);
  }
  T number = 1;   // of the depth
  int layer = 0;  // the next one to be left
  for (int depth = quantity == Quantity::relu ? 1 : 0; depth <= depths.last(); ++depth) {
    // eps_l and tau_{l-1} serve relu at depth l (and tau_0 its angle at depth 0), tau_l the others.
    if (layer <= (relu ? depth - 1 : depth) || layer == 0) advance<T>(layer++, obtuse, eps, tau);
    if (depth == 0) {
      if (own) {
        add_deficit<T>(tau, total);
      } else if (!relu) {
#pragma unroll
        for (int v = 0; v < strip; ++v) total[v] = eps[v];
      }
    } else if (!relu) {
      add_deficit<T>(tau, total);
    } else {
#pragma unroll
      for (int v = 0; v < strip; ++v) total[v] = (total[v] + eps[v]) + tau[v] * (number - total[v]);
      number += 1;
    }
    if (depths.reached(depth)) {
      Strip<T> value;
      depth_value<T>(quantity, depth, tau, total, value);
      pairs.write(depths.next(), value, kernel);
    }
  }
}

// grelu_shallow l |x||z| cos theta_0 (1 - tau_0)^{l+1}, and 1 - (1 - tau_0)^{l+1}, its deficit: powers by squaring.
template <class T, int side>
__device__ __forceinline__ void shallow_strip(const PairStrip<T, side>& pairs, Quantity quantity) {
  const Depths& depths = pairs.a.depths;
  Strip<T> eps, tau, start;
  unsigned obtuse;
  pairs.input_angles(eps, obtuse);
  whole_deficit<T>(eps, obtuse, start);
  advance<T>(0, obtuse, eps, tau);
#pragma unroll 1
  for (int output = 0; output < depths.count; ++output) {
    Strip<T> total, power;
#pragma unroll
    for (int v = 0; v < strip; ++v) {
      total[v] = is_deficit(quantity) ? T(0) : start[v];
      power[v] = tau[v];
    }
#pragma unroll 1
    for (int left = depths.depth[output] + 1; left; left /= 2) {
      if (left % 2) add_deficit<T>(power, total);
#pragma unroll
      for (int v = 0; v < strip; ++v) power[v] += power[v] * (T(1) - power[v]);
    }
    Strip<T> value;
    depth_value<T>(quantity, depths.depth[output], tau, total, value);
    pairs.write(output, value, is_kernel(quantity));
  }
}

// Output l - 1 for l = 1..L+1: |x||z| cos(theta_{l-1}) prod_{s=l-1..L-1} (1 - tau_s), only W_l trained. The products
// are known from the last layer backwards: on the way up every output keeps the eps of its layer, on the way down tau
// is computed once more and the output gets its value.
template <class T, int side>
__device__ __forceinline__ void component_strip(const PairStrip<T, side>& pairs) {
  const int last = pairs.a.depths.depth[0];
  Strip<T> eps, tau, product;
  unsigned obtuse;
  pairs.input_angles(eps, obtuse);
  for (int layer = 0; layer < last; ++layer) {
    pairs.keep(layer, eps);
    advance<T>(layer, obtuse, eps, tau);
  }
  pairs.keep(last, eps);
#pragma unroll
  for (int v = 0; v < strip; ++v) product[v] = T(1);
  for (int layer = last; layer >= 0; --layer) {
    const unsigned above = layer == 0 ? obtuse : 0;
    pairs.recall(layer, eps);
    if (layer < last) {
      if (layer >= 5)
        half_turns<T, 4>(eps, tau);
      else
        half_turns<T, 0>(eps, tau);
#pragma unroll
      for (int v = 0; v < strip; ++v) product[v] *= above >> v & 1 ? tau[v] : T(1) - tau[v];
    }
    Strip<T> value;
#pragma unroll
    for (int v = 0; v < strip; ++v) value[v] = (above >> v & 1 ? eps[v] - T(1) : T(1) - eps[v]) * product[v];
    pairs.write(layer, value, true);
  }
}

template <class T, int side>
__global__ void __launch_bounds__(Layout<T, side>::threads, Layout<T, side>::sweep_blocks)
    infinite_sweep(const PairArguments<T> a, const Quantity quantity) {
  const bool shallow = quantity == Quantity::grelu_shallow || quantity == Quantity::grelu_shallow_deficit;
  for_each_strip<T, side>(a, [&](const PairStrip<T, side>& pairs) {
    if (shallow)
      shallow_strip<T, side>(pairs, quantity);
    else
      sweep_strip<T, side>(pairs, quantity);
  });
}

template <class T, int side>
__global__ void __launch_bounds__(Layout<T, side>::threads, Layout<T, side>::component_blocks)
    infinite_components(const PairArguments<T> a, Quantity) {
  for_each_strip<T, side>(a, [&](const PairStrip<T, side>& pairs) { component_strip<T, side>(pairs); });
}

}  // namespace gatentk::cuda
