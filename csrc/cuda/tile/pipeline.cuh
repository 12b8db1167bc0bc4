// The pipeline of asynchronous copies: tiles along k pass through a ring of stages in shared memory.
#pragma once

#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"

namespace gatentk::cuda {

// Calls use(stage, i) for tile i = 0, 1, ... until it returns false, while the copies of the next `stages` - 1 tiles
// are under way; at the end none are left. All threads of the block take part, and each copies its share by `source`:
//   more()         whether a tile is left to copy
//   start(stage)   starts its copies and goes on to the next one
// `memory` holds stages * stage_size elements.
template <int stages, int stage_size, class T, class Source, class Use>
__device__ __forceinline__ void run_pipeline(Shared<T> memory, Source& source, Use&& use) {
  // Round i uses tile i, from stage i mod stages, and starts the copies that come stages - 1 rounds later, to the stage
  // of round i - 1. The first rounds only fill the pipeline: one loop, so that the copies are compiled once.
  int stage_at = 1;
#pragma unroll 1
  for (int i = 1 - stages;; ++i) {
    const Shared<T> stage = memory.from(stage_at * stage_size);
    if (i >= 0) {
      wait_copies<stages - 2>();
      // Tile i is complete, and all warps are done with the stage that is filled next.
      __syncthreads();
    }
    if (source.more()) source.start(memory.from((stage_at == 0 ? stages - 1 : stage_at - 1) * stage_size));
    commit_copies();  // also without copies: a group for each round keeps the count that wait_copies sees
    stage_at = stage_at + 1 == stages ? 0 : stage_at + 1;
    if (i < 0) continue;
    if (!use(stage, i)) break;
  }
  wait_copies<0>();
}

}  // namespace gatentk::cuda
