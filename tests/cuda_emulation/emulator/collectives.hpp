// Functions in which the threads of a block or the lanes of a warp meet.
#pragma once

#include <string>

#include "block.hpp"
#include "indices.hpp"

namespace gatentk::emulation {

constexpr unsigned all_lanes = 0xffffffffu;

template <class T>
struct Shuffle {
  T value;
  int source;  // lane, or -1: keep the own value
  T result;
};

template <class T>
void combine_shuffle(Contributions lanes, unsigned mask) {
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1u) == 0) continue;
    auto& mine = *static_cast<Shuffle<T>*>(lanes[lane]);
    const int source = mine.source < 0 ? lane : mine.source;
    if ((mask >> source & 1u) == 0) {
      fail("lane " + std::to_string(lane) + " reads lane " + std::to_string(source) +
           ", which is not in the mask of the shuffle");
    }
    mine.result = static_cast<Shuffle<T>*>(lanes[source])->value;
  }
}

template <class T>
T shuffle(const char* what, unsigned mask, T value, int source, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  Shuffle<T> mine{value, source, value};
  meet_warp(what, mask, &combine_shuffle<T>, &mine, site);
  return mine.result;
}

struct Vote {
  bool predicate;
  unsigned result;
};

inline void combine_votes(Contributions lanes, unsigned mask) {
  unsigned ballot = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1u) != 0 && static_cast<Vote*>(lanes[lane])->predicate) ballot |= 1u << lane;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1u) != 0) static_cast<Vote*>(lanes[lane])->result = ballot;
  }
}

inline unsigned vote(const char* what, unsigned mask, bool predicate, Site site) {
  Vote mine{predicate, 0};
  meet_warp(what, mask, &combine_votes, &mine, site);
  return mine.result;
}

// The warp's own barrier; the only warp function that orders accesses to memory.
void combine_barrier(Contributions lanes, unsigned mask);

// Blocks have one dimension.
inline int own_lane() {
  return static_cast<int>(threadIdx.x % 32);
}

}  // namespace gatentk::emulation

inline void __syncthreads(gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  gatentk::emulation::meet_block("__syncthreads", false, site);
}
inline int __syncthreads_or(int predicate, gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  return gatentk::emulation::meet_block("__syncthreads_or", predicate != 0, site) > 0;
}
inline int __syncthreads_and(int predicate, gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  return gatentk::emulation::meet_block("__syncthreads_and", predicate == 0, site) == 0;
}
inline int __syncthreads_count(int predicate, gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  return gatentk::emulation::meet_block("__syncthreads_count", predicate != 0, site);
}

inline void __syncwarp(unsigned mask = gatentk::emulation::all_lanes,
                       gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  int nothing = 0;
  gatentk::emulation::meet_warp("__syncwarp", mask, &gatentk::emulation::combine_barrier, &nothing, site);
}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32,
                     gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  const int segment = gatentk::emulation::own_lane() & ~(width - 1);
  return gatentk::emulation::shuffle("__shfl_sync", mask, value, segment + (source & (width - 1)), site);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                         gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  const int lane = gatentk::emulation::own_lane(), source = lane ^ bits;
  const bool inside = source < (lane | (width - 1)) + 1;
  return gatentk::emulation::shuffle("__shfl_xor_sync", mask, value, inside ? source : -1, site);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                          gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  const int lane = gatentk::emulation::own_lane(), source = lane + static_cast<int>(delta);
  const bool inside = source <= (lane | (width - 1));
  return gatentk::emulation::shuffle("__shfl_down_sync", mask, value, inside ? source : -1, site);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                        gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  const int lane = gatentk::emulation::own_lane(), source = lane - static_cast<int>(delta);
  const bool inside = source >= (lane & ~(width - 1));
  return gatentk::emulation::shuffle("__shfl_up_sync", mask, value, inside ? source : -1, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  return gatentk::emulation::vote("__ballot_sync", mask, predicate != 0, site);
}
inline int __any_sync(unsigned mask, int predicate, gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  return gatentk::emulation::vote("__any_sync", mask, predicate != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, gatentk::emulation::Site site = gatentk::emulation::Site::here()) {
  return gatentk::emulation::vote("__all_sync", mask, predicate != 0, site) == mask;
}

// Atomic on the host as well: threads of a block may be threads of the host.
template <class T>
inline T atomicAdd(T* address, T value) {
  T before;
  __atomic_load(address, &before, __ATOMIC_RELAXED);
  T after = before + value;
  while (!__atomic_compare_exchange(address, &before, &after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    after = before + value;
  }
  return before;
}
inline unsigned atomicOr(unsigned* address, unsigned value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
