// What device code may ask of the emulated block that it runs in.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

#include "vectors.hpp"

namespace gatentk::emulation {

// A mistake of a kernel; the message names kernel, block and thread. It reaches the caller of launch().
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws a Fault on behalf of the running thread.
[[noreturn]] void fail(const std::string& what);

// Where device code calls a collective function; here() as a default argument is the place of the call.
struct Site {
  const char* file = "";
  int line = 0;

  static Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// What the lanes of a warp bring to a collective function; null for lanes that are not in the mask.
using Contributions = void* const (&)[32];
using Combine = void (*)(Contributions lanes, unsigned mask);

// Waits for all lanes of `mask`; the last one to come calls `combine` for all. Meets only lanes that bring the same
// `combine` and mask.
void meet_warp(const char* what, unsigned mask, Combine combine, void* mine, Site site);

// Waits for all threads of the block; returns how many of them came with a predicate that is true.
int meet_block(const char* what, bool predicate, Site site);

// The next span of the block's shared memory.
void* take_shared(int bytes, int alignment);

// How a thread is about to touch shared memory. `refer` hands out a reference: it counts as a write if the bytes have
// changed by the thread's next action, else as a read.
enum class Access { read, write, refer };
void touch(const void* address, int bytes, Access access);

// cp.async of the running thread: the destination is poisoned now and written by the wait that covers its group.
void start_copy(void* to, const void* from, int bytes, int valid);
void commit_copies();
void wait_copies(int left);

// Runs `thread` once for every thread of the grid.
void run_grid(const char* kernel, dim3 blocks, int threads, int shared_bytes, const std::function<void()>& thread);

enum class LaneOrder : int { forward, reversed, shuffled };
enum class Runner : int { fibers, threads };

// For all launches to come, on any thread of the host.
void set_lane_order(LaneOrder order, unsigned seed);
void set_runner(Runner runner);

}  // namespace gatentk::emulation
