// Lanes as fibers: deterministic, in an order of choice.
#include <algorithm>
#include <numeric>
#include <random>

#include "fiber.hpp"
#include "lanes.hpp"

namespace gatentk::emulation {

namespace {

// Unwinds the other lanes once a lane has failed.
struct Abandoned {};

// Stacks are kept for the next launch of the same host thread.
std::vector<std::unique_ptr<Fiber>>& kept_fibers(std::size_t count) {
  thread_local std::vector<std::unique_ptr<Fiber>> fibers;
  while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
  return fibers;
}

class Fibers final : public Scheduler {
 public:
  Fibers(LaneOrder order, unsigned seed) : order_(order), generator_(seed) {}

  void run(Block& block) override;
  std::unique_lock<std::mutex> lock(Door&) override { return {}; }
  void wait(Door&, std::unique_lock<std::mutex>&) override;
  void released(Door&, int) override {}

 private:
  static void run_fiber(void* self);
  bool runnable(const Lane& lane) const;
  void resume(Lane& lane);
  bool run_some(const std::vector<int>& threads);
  bool run_warps();
  void unwind();

  LaneOrder order_;
  std::mt19937 generator_;
  Block* block_ = nullptr;
  std::vector<int> threads_;  // in their order
  std::vector<char> started_;
  bool abandoned_ = false;
  std::exception_ptr failure_;
};

void Fibers::run(Block& block) {
  block_ = &block;
  threads_.resize(block.lanes.size());
  std::iota(threads_.begin(), threads_.end(), 0);
  if (order_ == LaneOrder::reversed) std::reverse(threads_.begin(), threads_.end());
  started_.assign(block.lanes.size(), 0);
  bool progress = true;
  while (progress && !failure_) progress = order_ == LaneOrder::shuffled ? run_some(threads_) : run_warps();
  const bool finished =
      std::all_of(block.lanes.begin(), block.lanes.end(), [](const Lane& lane) { return lane.finished; });
  if (finished) return;
  const std::string waits = failure_ ? std::string() : block.waits();
  unwind();
  if (failure_) std::rethrow_exception(failure_);
  throw Fault(block.place() + ": threads wait for ever:" + waits);
}

// Runs every lane of `threads` that can run up to its next wait.
bool Fibers::run_some(const std::vector<int>& threads) {
  if (order_ == LaneOrder::shuffled) std::shuffle(threads_.begin(), threads_.end(), generator_);
  bool progress = false;
  for (const int thread : threads) {
    Lane& lane = block_->lanes[thread];
    if (!runnable(lane)) continue;
    resume(lane);
    progress = true;
    if (failure_) break;
  }
  return progress;
}

// Each warp in turn as far as it gets: warps are as far apart as barriers allow.
bool Fibers::run_warps() {
  bool progress = false;
  for (std::size_t first = 0; first < threads_.size() && !failure_;) {
    const int warp = threads_[first] / 32;
    std::size_t last = first;
    while (last < threads_.size() && threads_[last] / 32 == warp) ++last;
    const std::vector<int> lanes(threads_.begin() + first, threads_.begin() + last);
    while (!failure_ && run_some(lanes)) progress = true;
    first = last;
  }
  return progress;
}

bool Fibers::runnable(const Lane& lane) const {
  return !lane.finished && !lane.waiting;
}

void Fibers::resume(Lane& lane) {
  Fiber& fiber = *kept_fibers(block_->lanes.size())[lane.thread];
  block_->enter(lane);
  if (started_[lane.thread] == 0) {
    started_[lane.thread] = 1;
    fiber.start(&Fibers::run_fiber, this, lane.thread);
  }
  fiber.resume();
}

void Fibers::run_fiber(void* self) {
  auto& fibers = *static_cast<Fibers*>(self);
  Lane& lane = current_lane();
  try {
    fibers.block_->run_lane(lane);
  } catch (const Abandoned&) {
  } catch (...) {
    if (!fibers.failure_) fibers.failure_ = std::current_exception();
  }
  lane.finished = true;
}

void Fibers::wait(Door&, std::unique_lock<std::mutex>&) {
  const Lane& lane = current_lane();
  kept_fibers(0)[lane.thread]->suspend();
  if (abandoned_) throw Abandoned();
}

void Fibers::unwind() {
  abandoned_ = true;
  for (Lane& lane : block_->lanes) {
    if (started_[lane.thread] != 0 && !lane.finished) resume(lane);
  }
}

}  // namespace

std::unique_ptr<Scheduler> make_fibers(LaneOrder order, unsigned seed) {
  return std::make_unique<Fibers>(order, seed);
}

}  // namespace gatentk::emulation
