// Small kernels, each in a sound and in a broken version: what the emulator must pass and what it must catch.
#include <cstring>
#include <vector>

#include "cuda/device/language.cuh"
#include "cuda/device/launch.cuh"
#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"
#include "planted_bugs.hpp"

namespace gatentk::cuda {

namespace {

constexpr int threads = 64;
constexpr unsigned whole_warp = 0xffffffffu;

// Every kernel writes 64 floats; this is what all of them should write.
bool reversed(const std::vector<float>& out) {
  for (int i = 0; i < threads; ++i) {
    if (out[i] != static_cast<float>(threads - 1 - i)) return false;
  }
  return true;
}

using Kernel = void (*)(const float* x, float* out);

template <Kernel kernel>
bool run_reverse(int shared_bytes) {
  std::vector<float> x(threads), out(threads, -1.0f);
  for (int i = 0; i < threads; ++i) x[i] = static_cast<float>(i);
  launch(kernel, "planted", {dim3(1), threads, shared_bytes, nullptr}, x.data(), out.data());
  return reversed(out);
}
template <Kernel kernel>
bool run_reverse() {
  return run_reverse<kernel>(threads * static_cast<int>(sizeof(float)));
}

__device__ Shared<float> tile() {
  SharedArena arena;
  return arena.take<float>(threads);
}
__device__ int self() {
  return static_cast<int>(threadIdx.x);
}
__device__ int opposite() {
  return threads - 1 - self();
}

template <bool sound>
__global__ void barrier(const float* x, float* out) {
  const Shared<float> s = tile();
  s[self()] = x[self()];
  if (sound) __syncthreads();
  out[self()] = s[opposite()];
}

// The same through a pointer, which no check sees: only the order of the lanes shows it.
template <bool sound>
__global__ void hidden_barrier(const float* x, float* out) {
  auto* s = static_cast<float*>(tile().bytes_at(0, 4, 4));
  s[self()] = x[self()];
  if (sound) __syncthreads();
  out[self()] = s[opposite()];
}

// A tile that is used twice needs a barrier before it is overwritten.
template <bool sound>
__global__ void second_use(const float* x, float* out) {
  const Shared<float> s = tile();
  for (int round = 0; round < 2; ++round) {
    s[self()] = x[self()] + static_cast<float>(round);
    __syncthreads();
    out[self()] = s[opposite()] - static_cast<float>(round);
    if (sound) __syncthreads();
  }
}

// Lanes of one warp that exchange through memory need __syncwarp.
template <bool sound>
__global__ void warp_barrier(const float* x, float* out) {
  const Shared<float> s = tile();
  s[self()] = x[threads - 1 - self()];
  if (sound) __syncwarp();
  const float neighbour = s[self() ^ 1];
  out[self()] = __shfl_xor_sync(whole_warp, neighbour, 1);
}

template <bool sound>
__global__ void same_word(const float* x, float* out) {
  const Shared<float> s = tile();
  if (sound) {
    if (self() == 0) s[0] = x[63];
  } else {
    s[0] = x[63] + static_cast<float>(self() % 2);
  }
  __syncthreads();
  out[self()] = s[0] - static_cast<float>(self());
}

template <bool sound>
__global__ void early_return(const float* x, float* out) {
  const Shared<float> s = tile();
  s[self()] = x[self()];
  if (!sound && self() >= 40) return;
  __syncthreads();
  out[self()] = s[opposite()];
}

template <bool sound>
__global__ void two_barriers(const float* x, float* out) {
  const Shared<float> s = tile();
  s[self()] = x[self()];
  if (sound || self() < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[self()] = s[opposite()];
}

// Half of the block waits for the other half, and the other way round.
template <bool sound>
__global__ void deadlock(const float* x, float* out) {
  const Shared<float> s = tile();
  s[self()] = x[self()];
  if (!sound && self() % 32 < 16) __syncwarp();
  __syncthreads();
  out[self()] = s[opposite()];
}

template <bool sound>
__global__ void shuffle_caller(const float* x, float* out) {
  const unsigned half = self() % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  const float swapped = __shfl_xor_sync(sound ? half : 0x0000ffffu, x[opposite()], 1);
  out[self()] = __shfl_xor_sync(whole_warp, swapped, 1);
}

template <bool sound>
__global__ void shuffle_absent(const float* x, float* out) {
  float value = x[opposite()];
  if (self() % 32 < 16) {
    const unsigned mask = sound ? 0x0000ffffu : whole_warp;
    value = __shfl_xor_sync(mask, __shfl_xor_sync(mask, value, 1), 1);
  }
  out[self()] = value;
}

template <bool sound>
__global__ void shuffle_source(const float* x, float* out) {
  const unsigned half = self() % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  const int bits = sound ? 8 : 16;
  const float swapped = __shfl_xor_sync(half, x[opposite()], bits);
  out[self()] = __shfl_xor_sync(half, swapped, bits);
}

template <bool sound>
__global__ void other_function(const float* x, float* out) {
  float value = x[opposite()];
  if (sound || self() % 2 == 0) {
    value = __shfl_xor_sync(whole_warp, __shfl_xor_sync(whole_warp, value, 1), 1);
  } else {
    value += __any_sync(whole_warp, 0) != 0 ? 1.0f : 0.0f;
    value += __any_sync(whole_warp, 0) != 0 ? 1.0f : 0.0f;
  }
  out[self()] = value;
}

template <bool sound>
__global__ void bounds(const float* x, float* out) {
  const Shared<float> s = tile();
  s[self()] = x[self()];
  __syncthreads();
  out[self()] = s[threads - self() - (sound ? 1 : 0)];
}

template <bool sound>
__global__ void vector_bounds(const float* x, float* out) {
  const Shared<float> s = tile();
  s[self()] = x[self()];
  __syncthreads();
  const int first = opposite() / 4 * 4 + (sound ? 0 : 4);
  const float4 four = s.load<float4>(first);
  const float values[] = {four.x, four.y, four.z, four.w};
  out[self()] = values[opposite() % 4];
}

template <bool sound>
__global__ void vector_alignment(const float* x, float* out) {
  const Shared<float> s = tile();
  s[self()] = x[self()];
  __syncthreads();
  const int first = opposite() / 2 * 2;
  if (sound) {
    const float2 two = s.load<float2>(first);
    out[self()] = opposite() % 2 == 0 ? two.x : two.y;
  } else {
    const float2 two = s.load<float2>(max(opposite() - 1, 0));
    out[self()] = opposite() == 0 ? two.x : two.y;
  }
}

template <bool sound>
__global__ void arena_size(const float* x, float* out) {
  SharedArena arena;
  const Shared<float> s = arena.take<float>(sound ? threads : threads + 1);
  s[self()] = x[self()];
  __syncthreads();
  out[self()] = s[opposite()];
}

template <bool sound>
__global__ void second_arena(const float* x, float* out) {
  const Shared<float> s = sound ? tile() : (tile(), tile());
  s[self()] = x[self()];
  __syncthreads();
  out[self()] = s[opposite()];
}

// A write behind the span, through a pointer: AddressSanitizer sees it at once, the emulator when the block ends.
template <bool sound>
__global__ void redzone(const float* x, float* out) {
  auto* s = static_cast<float*>(tile().bytes_at(0, 4, 4));
  s[self()] = x[self()];
  if (self() == 0 && !sound) s[threads] = 1.0f;
  __syncthreads();
  out[self()] = s[opposite()];
}

template <bool sound>
__global__ void wait(const float* x, float* out) {
  const Shared<float> s = tile();
  copy_async<4>(s, self(), x + opposite());
  commit_copies();
  if (sound) wait_copies<0>();
  const float value = s[self()];
  out[self()] = value;
  wait_copies<0>();
}

template <bool sound>
__global__ void wait_at_all(const float* x, float* out) {
  const Shared<float> s = tile();
  copy_async<4>(s, self(), x + opposite());
  commit_copies();
  if (sound) wait_copies<0>();
  out[self()] = x[opposite()];
}

template <bool sound>
__global__ void commit(const float* x, float* out) {
  const Shared<float> s = tile();
  copy_async<4>(s, self(), x + opposite());
  if (sound) commit_copies();
  wait_copies<0>();
  out[self()] = s[self()];
}

// The second half of the tile belongs to the second group.
template <bool sound>
__global__ void group_count(const float* x, float* out) {
  const Shared<float> s = tile();
  if (self() < 32) copy_async<4>(s, self(), x + opposite());
  commit_copies();
  if (self() >= 32) copy_async<4>(s, self(), x + opposite());
  commit_copies();
  wait_copies<sound ? 0 : 1>();
  const float value = s[self()];
  out[self()] = value;
  wait_copies<0>();
}

// A thread waits for its own copies only: others' bytes need a barrier as well.
template <bool sound>
__global__ void copied_by_others(const float* x, float* out) {
  const Shared<float> s = tile();
  copy_async<4>(s, self(), x + self());
  commit_copies();
  wait_copies<0>();
  if (sound) __syncthreads();
  out[self()] = s[opposite()];
}

template <bool sound>
__global__ void copy_alignment(const float* x, float* out) {
  const Shared<float> s = tile();
  if (self() % 4 == 0) copy_async<16>(s, self() + (sound || self() > 0 ? 0 : 2), x + self());
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  out[self()] = s[opposite()];
}

template <bool sound>
__global__ void source_alignment(const float* x, float* out) {
  const Shared<float> s = tile();
  if (self() % 2 == 0) copy_async<8>(s, self(), x + (sound || self() > 0 ? self() : 1));
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  out[self()] = s[opposite()];
}

// The next three only AddressSanitizer sees.
template <bool sound>
__global__ void stack_bounds(const float* x, float* out) {
  float local[4];
  for (int i = 0; i < 4; ++i) local[i] = x[opposite()];
  volatile int index = sound ? 3 : 4;
  out[self()] = local[index];
}

template <bool sound>
__global__ void global_bounds(const float* x, float* out) {
  out[self() + (sound ? 0 : 1)] = x[opposite()];
}

template <bool sound>
__global__ void copy_bounds(const float* x, float* out) {
  const Shared<float> s = tile();
  copy_async<4>(s, self(), x + opposite() + (sound ? 0 : 1));
  commit_copies();
  wait_copies<0>();
  out[self()] = s[self()];
}

// This one only ThreadSanitizer sees, for it races on global memory.
template <bool sound>
__global__ void global_race(const float* x, float* out) {
  if (sound || self() % 2 == 0) out[self()] = x[opposite()];
  if (!sound && self() % 2 == 1) {
    out[self()] = x[opposite()];
    out[self() ^ 32] += 0.0f;
  }
}

#define GATENTK_CASE(kernel) {#kernel, &run_reverse<&kernel<true>>, &run_reverse<&kernel<false>>}

constexpr PlantedBug bugs[] = {
    GATENTK_CASE(barrier),
    GATENTK_CASE(hidden_barrier),
    GATENTK_CASE(second_use),
    GATENTK_CASE(warp_barrier),
    GATENTK_CASE(same_word),
    GATENTK_CASE(early_return),
    GATENTK_CASE(two_barriers),
    GATENTK_CASE(deadlock),
    GATENTK_CASE(shuffle_caller),
    GATENTK_CASE(shuffle_absent),
    GATENTK_CASE(shuffle_source),
    GATENTK_CASE(other_function),
    GATENTK_CASE(bounds),
    GATENTK_CASE(vector_bounds),
    GATENTK_CASE(vector_alignment),
    GATENTK_CASE(arena_size),
    GATENTK_CASE(second_arena),
    GATENTK_CASE(redzone),
    GATENTK_CASE(wait),
    GATENTK_CASE(wait_at_all),
    GATENTK_CASE(commit),
    GATENTK_CASE(group_count),
    GATENTK_CASE(copied_by_others),
    GATENTK_CASE(copy_alignment),
    GATENTK_CASE(source_alignment),
    GATENTK_CASE(stack_bounds),
    GATENTK_CASE(global_bounds),
    GATENTK_CASE(copy_bounds),
    GATENTK_CASE(global_race),
};

}  // namespace

const PlantedBug* find_planted_bug(const char* name) {
  for (const PlantedBug& bug : bugs) {
    if (std::strcmp(bug.name, name) == 0) return &bug;
  }
  return nullptr;
}

}  // namespace gatentk::cuda
