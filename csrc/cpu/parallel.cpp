#include "cpu/parallel.hpp"

#include <algorithm>
#include <atomic>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace gatentk::cpu {

namespace {

std::atomic<bool> is_forked{false};

#if defined(__unix__) || defined(__APPLE__)
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { is_forked.store(true); });
#endif

}  // namespace

bool forked() {
  return is_forked.load(std::memory_order_relaxed);
}

void parallel_for(std::int64_t count, int threads, void* context, LoopBody body) {
  const int team = static_cast<int>(std::min<std::int64_t>(threads, count));
  if (team <= 1 || forked()) {
    for (std::int64_t index = 0; index < count; ++index) body(context, index, 0);
    return;
  }
#ifdef _OPENMP
  std::atomic<std::int64_t> next{0};
#pragma omp parallel num_threads(team)
  {
    const int thread = omp_get_thread_num();
    for (std::int64_t index; (index = next.fetch_add(1, std::memory_order_relaxed)) < count;)
      body(context, index, thread);
  }
#else
  for (std::int64_t index = 0; index < count; ++index) body(context, index, 0);
#endif
}

}  // namespace gatentk::cpu
