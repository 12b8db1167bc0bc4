// The one place that starts threads: a dynamic parallel loop over OpenMP.
#pragma once

#include <cstdint>

namespace gatentk::cpu {

using LoopBody = void (*)(void* context, std::int64_t index, int thread);

// Calls body(context, index, thread) for every index in [0, count) with at most `threads` threads; indices are
// handed out one by one in rising order. `thread` lies in [0, threads) and is unique among concurrent calls.
// In a process that was forked they are all called by one thread: those of the parent are not there, and OpenMP would
// wait for them for ever.
void parallel_for(std::int64_t count, int threads, void* context, LoopBody body);

// Whether this process was forked from one that had loaded this code.
bool forked();

template <class Function>
void parallel_for(std::int64_t count, int threads, Function&& function) {
  parallel_for(count, threads, &function, [](void* context, std::int64_t index, int thread) {
    (*static_cast<Function*>(context))(index, thread);
  });
}

}  // namespace gatentk::cpu
