// Infinite-width kernels of pairs of samples: all layers of a pair stay in registers, every depth from one pass.
//
// Sums of layers are kept in complements as the angles are, T_l = (l+1) - S_l:
//   T_{l+1} = T_l + tau_l (l + 1 - T_l) + eps_{l+1},
// sums of non-negative terms throughout, so small angles keep their relative accuracy at any depth.
#pragma once

#include <cstdint>

#include "cpu/infinite_ntk_networks.hpp"
#include "cpu/infinite_ntk_strip.hpp"

namespace gatentk::cpu::GATENTK_ISA {

template <class T>
static GATENTK_INLINE void first_deficit(const Strip<T>& cosine, const Strip<T>& eps, Strip<T>& total) {
  for (int v = 0; v < strip_vectors; ++v) total[v] = cosine[v] < 0 ? broadcast(T(2)) - eps[v] : eps[v];
}

// The k-th output: |x_i||z_j| scale (1 - deficit), or the angle whose cosine is 1 - deficit.
template <class T, bool angle>
static GATENTK_INLINE void write_deficit(const StripWriter<T>& writer, std::int64_t k, T scale,
                                         const Strip<T>& deficit) {
  if constexpr (angle) {
    const Vector<T> one = broadcast(T(1)), two = broadcast(T(2));
    Strip<T> acute, half_turns, unused;
    for (int v = 0; v < strip_vectors; ++v) acute[v] = deficit[v] > one ? two - deficit[v] : deficit[v];
    advance_level<T, 0>(acute, half_turns, unused);
    for (int v = 0; v < strip_vectors; ++v) writer.angle(k, v, deficit[v] > one ? one - half_turns[v] : half_turns[v]);
  } else {
    for (int v = 0; v < strip_vectors; ++v) writer.kernel(k, v, scale - scale * deficit[v]);
  }
}

// S_l |x||z|, or the angle of the gradients: cos phi = S_l / (l + 1). At l = 0 these are the Gram matrix and the input
// angle themselves.
template <class T, bool angle>
static void relu_strip(const PairTile<T>& tile, std::int64_t first) {
  const StripWriter<T> writer{tile, first};
  DepthCursor depth{tile.depths, tile.depth_count};
  const std::int64_t last = tile.depths[tile.depth_count - 1];
  Strip<T> cosine, eps, tau, total;
  input_angles(tile, first, cosine, eps);
  first_deficit<T>(cosine, eps, total);
  advance_input<T>(cosine, eps, tau);
  depth.reach(0, [&](int k) {
    for (int v = 0; v < strip_vectors; ++v)
      if constexpr (angle)
        writer.angle(k, v, tau[v]);
      else
        store(writer.at(k, v), load(tile.gram + first * panel_columns<T> + v * Simd<T>::lanes));
  });
  for (std::int64_t layer = 1; layer <= last; ++layer) {
    for (int v = 0; v < strip_vectors; ++v) total[v] += tau[v] * (T(layer) - total[v]) + eps[v];
    depth.reach(layer, [&](int k) {
      if constexpr (angle) {
        Strip<T> mean;
        for (int v = 0; v < strip_vectors; ++v) mean[v] = total[v] / T(layer + 1);
        write_deficit<T, true>(writer, k, T(1), mean);
      } else {
        for (int v = 0; v < strip_vectors; ++v) writer.kernel(k, v, T(layer + 1) - total[v]);
      }
    });
    if (layer < last) advance<T>(layer, eps, tau);
  }
}

// l |x||z| (1 - u_l), u_0 = eps_1, u_s = u_{s-1} + tau_s (1 - u_{s-1}): the expected GReLU kernel, or its angle.
template <class T, bool angle>
static void grelu_strip(const PairTile<T>& tile, std::int64_t first) {
  const StripWriter<T> writer{tile, first};
  DepthCursor depth{tile.depths, tile.depth_count};
  const std::int64_t last = tile.depths[tile.depth_count - 1];
  Strip<T> cosine, eps, tau, deficit;
  input_angles(tile, first, cosine, eps);
  advance_input<T>(cosine, eps, tau);
  for (int v = 0; v < strip_vectors; ++v) deficit[v] = eps[v];
  for (std::int64_t layer = 1; layer <= last; ++layer) {
    advance<T>(layer, eps, tau);
    for (int v = 0; v < strip_vectors; ++v) deficit[v] += tau[v] * (T(1) - deficit[v]);
    depth.reach(layer, [&](int k) { write_deficit<T, angle>(writer, k, T(layer), deficit); });
  }
}

// What a chain of gates that share no matrix with the network starts from: 1 - cos theta_0 of the kernel
// l x.z prod (1 - tau_s), whose matrix C is drawn apart, and 0 where only the product of the gates is wanted.
template <class T, bool kernel>
static GATENTK_INLINE void gate_deficit(const Strip<T>& cosine, const Strip<T>& eps, Strip<T>& deficit) {
  if constexpr (kernel)
    first_deficit<T>(cosine, eps, deficit);
  else
    for (int v = 0; v < strip_vectors; ++v) deficit[v] = broadcast(T(0));
}

template <class T, bool kernel>
static GATENTK_INLINE void write_gates(const StripWriter<T>& writer, std::int64_t k, T scale, const Strip<T>& deficit) {
  if constexpr (kernel)
    write_deficit<T, false>(writer, k, scale, deficit);
  else
    for (int v = 0; v < strip_vectors; ++v) writer.plain(k, v, deficit[v]);
}

// Gates of a deep network: the product is that of all layers, s = 0..l.
template <class T, bool kernel>
static void deep_gates_strip(const PairTile<T>& tile, std::int64_t first) {
  const StripWriter<T> writer{tile, first};
  DepthCursor depth{tile.depths, tile.depth_count};
  const std::int64_t last = tile.depths[tile.depth_count - 1];
  Strip<T> cosine, eps, tau, deficit;
  input_angles(tile, first, cosine, eps);
  gate_deficit<T, kernel>(cosine, eps, deficit);
  advance_input<T>(cosine, eps, tau);
  for (int v = 0; v < strip_vectors; ++v) deficit[v] += tau[v] * (T(1) - deficit[v]);
  for (std::int64_t layer = 1; layer <= last; ++layer) {
    advance<T>(layer, eps, tau);
    for (int v = 0; v < strip_vectors; ++v) deficit[v] += tau[v] * (T(1) - deficit[v]);
    depth.reach(layer, [&](int k) { write_gates<T, kernel>(writer, k, T(layer), deficit); });
  }
}

// Gates that are half-spaces of the samples: (1 - tau_0)^{l+1}, by squaring: a power's deficit is 1 - (1 - u)^2 =
// u + u (1 - u).
template <class T, bool kernel>
static void shallow_gates_strip(const PairTile<T>& tile, std::int64_t first) {
  const StripWriter<T> writer{tile, first};
  Strip<T> cosine, eps, tau, start;
  input_angles(tile, first, cosine, eps);
  gate_deficit<T, kernel>(cosine, eps, start);
  advance_input<T>(cosine, eps, tau);
  for (int k = 0; k < tile.depth_count; ++k) {
    Strip<T> deficit, power;
    for (int v = 0; v < strip_vectors; ++v) {
      deficit[v] = start[v];
      power[v] = tau[v];
    }
    for (std::int64_t left = tile.depths[k] + 1; left; left /= 2) {
      if (left % 2)
        for (int v = 0; v < strip_vectors; ++v) deficit[v] += power[v] * (T(1) - deficit[v]);
      for (int v = 0; v < strip_vectors; ++v) power[v] += power[v] * (T(1) - power[v]);
    }
    write_gates<T, kernel>(writer, k, T(tile.depths[k]), deficit);
  }
}

template <class T>
static void embedding_angle_strip(const PairTile<T>& tile, std::int64_t first) {
  const StripWriter<T> writer{tile, first};
  DepthCursor depth{tile.depths, tile.depth_count};
  const std::int64_t last = tile.depths[tile.depth_count - 1];
  Strip<T> cosine, eps, tau;
  input_angles(tile, first, cosine, eps);
  advance_input<T>(cosine, eps, tau);
  for (std::int64_t layer = 0;; ++layer) {
    depth.reach(layer, [&](int k) {
      for (int v = 0; v < strip_vectors; ++v) writer.angle(k, v, tau[v]);
    });
    if (layer == last) break;
    advance<T>(layer + 1, eps, tau);
  }
}

// Output l - 1 for l = 1..L+1: |x||z| cos(theta_{l-1}) prod_{s=l-1..L-1} (1 - tau_s), only W_l trained.
template <class T>
static void component_strip(const PairTile<T>& tile, std::int64_t first) {
  constexpr int lanes = Simd<T>::lanes, width = strip_vectors * lanes;
  const StripWriter<T> writer{tile, first};
  const std::int64_t last = tile.depths[0];
  T* cosines = tile.scratch;
  T* share = tile.scratch + (last + 1) * width;  // 1 - tau_l
  Strip<T> cosine, eps, tau, product;
  input_angles(tile, first, cosine, eps);
  for (int v = 0; v < strip_vectors; ++v) {
    const Vector<T> size = T(1) - eps[v];
    store(cosines + v * lanes, cosine[v] < 0 ? -size : size);
    product[v] = broadcast(T(1));
  }
  for (std::int64_t layer = 0; layer < last; ++layer) {
    if (layer == 0)
      advance_input<T>(cosine, eps, tau);
    else
      advance<T>(layer, eps, tau);
    for (int v = 0; v < strip_vectors; ++v) {
      store(share + layer * width + v * lanes, T(1) - tau[v]);
      store(cosines + (layer + 1) * width + v * lanes, T(1) - eps[v]);
    }
  }
  for (std::int64_t layer = last; layer >= 0; --layer)
    for (int v = 0; v < strip_vectors; ++v) {
      if (layer < last) product[v] *= load(share + layer * width + v * lanes);
      writer.kernel(layer, v, load(cosines + layer * width + v * lanes) * product[v]);
    }
}

template <class T>
static void pairs(const PairTile<T>& tile) {
  for (std::int64_t first = 0; first < tile.rows; first += strip_rows) switch (tile.quantity) {
      case Quantity::relu:
        relu_strip<T, false>(tile, first);
        break;
      case Quantity::relu_components:
        component_strip<T>(tile, first);
        break;
      case Quantity::relu_angle:
        relu_strip<T, true>(tile, first);
        break;
      case Quantity::grelu:
        grelu_strip<T, false>(tile, first);
        break;
      case Quantity::grelu_angle:
        grelu_strip<T, true>(tile, first);
        break;
      case Quantity::embedding_angle:
        embedding_angle_strip<T>(tile, first);
        break;
      case Quantity::grelu_deep:
        deep_gates_strip<T, true>(tile, first);
        break;
      case Quantity::grelu_deep_deficit:
        deep_gates_strip<T, false>(tile, first);
        break;
      case Quantity::grelu_shallow:
        shallow_gates_strip<T, true>(tile, first);
        break;
      case Quantity::grelu_shallow_deficit:
        shallow_gates_strip<T, false>(tile, first);
        break;
      default:
        network_strip<T>(tile, first);
    }
}

template <class T>
static InfiniteKernels<T> infinite_kernels() {
  return {pairs<T>};
}

}  // namespace gatentk::cpu::GATENTK_ISA
