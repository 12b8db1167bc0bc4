// The state of an emulated block: its threads ("lanes"), where they wait, their copies and their shared memory.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "block.hpp"
#include "races.hpp"

namespace gatentk::emulation {

// A copy that has been started and not arrived.
struct Copy {
  std::byte* to;
  const std::byte* from;
  int bytes, valid;
  std::int64_t group;
};

// Where lanes wait. The mutex and the condition are used only where lanes are threads of the host.
struct Door {
  std::mutex mutex;
  std::condition_variable condition;
};

struct Lane {
  int thread;  // in the block
  bool finished = false;
  // Of the collective function that it waits in:
  bool waiting = false, released = false;
  const char* waits_in = nullptr;
  Site site = {};
  unsigned mask = 0;  // of a warp function
  int outcome = 0;    // of a block function
  int barriers = 0;   // block functions so far

  std::vector<Copy> copies;
  std::int64_t groups = 0;  // closed
  int spans = 0;            // taken from shared memory
};

// Lanes of a warp that wait for each other.
struct Meeting {
  unsigned mask;
  const char* what;
  Combine combine;
  unsigned here;
  void* contributions[32];
};

struct Warp {
  Door door;
  std::vector<Meeting> meetings;  // open ones
};

// A span of shared memory: where it lies on the device, and here, with forbidden memory between the spans.
struct Span {
  int offset, bytes, place;
};

// The shared memory of a block.
class Arena {
 public:
  // Everything becomes NaN, nothing is taken.
  void reset(int shared_bytes);
  // Span number `index` of a lane, the same for all of them.
  std::byte* take(int index, int bytes, int alignment);
  // Throws a Fault where something was written between the spans.
  void check_redzones() const;
  const std::vector<Span>& spans() const { return spans_; }
  // Offset on the device.
  int offset(const void* address) const;
  const std::byte* base() const { return base_; }
  std::size_t reach() const { return size_; }

 private:
  Span append(int bytes, int alignment) const;

  std::unique_ptr<std::byte[]> memory_;
  std::size_t size_ = 0;
  std::byte* base_ = nullptr;
  int shared_bytes_ = 0;
  std::vector<Span> spans_;
};

class Block;

// How lanes take turns.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  // Runs all lanes of the block to their ends; throws the Fault of the first lane that fails.
  virtual void run(Block& block) = 0;
  virtual std::unique_lock<std::mutex> lock(Door& door) = 0;
  // Returns when the running lane has been released.
  virtual void wait(Door& door, std::unique_lock<std::mutex>& lock) = 0;
  // `count` lanes that wait at the door have been released.
  virtual void released(Door& door, int count) = 0;
};

class Block {
 public:
  Block(const char* kernel, dim3 grid, int threads, int shared_bytes, const std::function<void()>& body,
        Scheduler& scheduler, bool detects_races);

  void run(uint3 index);

  int size() const { return static_cast<int>(lanes.size()); }
  // Makes `lane` the one that runs on this thread of the host.
  void enter(Lane& lane);
  // The kernel's code for one lane; throws Faults.
  void run_lane(Lane& lane);
  // Who waits where, for a report.
  std::string waits() const;
  std::string place() const;

  const char* const kernel;
  const dim3 grid;
  const int shared_bytes;
  uint3 index = {};
  std::vector<Lane> lanes;
  std::vector<std::unique_ptr<Warp>> warps;
  Arena arena;
  // Odd and even barriers have doors of their own: who is early at the next barrier must not seem, to ThreadSanitizer,
  // to have come there before those who are late to leave this one.
  Door doors[2];
  Door arena_door;
  int at_barrier = 0, predicates = 0;
  std::unique_ptr<Races> races;  // null where lanes are threads of the host
  Scheduler& scheduler;

 private:
  void finish(Lane& lane);

  const std::function<void()>& body_;
};

// The block and the lane that run on this thread of the host.
Block& current_block();
Lane& current_lane();

std::unique_ptr<Scheduler> make_fibers(LaneOrder order, unsigned seed);
std::unique_ptr<Scheduler> make_threads();

}  // namespace gatentk::emulation
