// Lanes as threads of the host, so that ThreadSanitizer sees what runs at the same time. Each warp has a mutex of its
// own: a lock that all warps take would order, and so hide, accesses that race.
#include <thread>

#include "lanes.hpp"

namespace gatentk::emulation {

namespace {

// Unwinds the other lanes once a lane has failed.
struct Abandoned {};

class Threads final : public Scheduler {
 public:
  void run(Block& block) override;
  std::unique_lock<std::mutex> lock(Door& door) override;
  void wait(Door& door, std::unique_lock<std::mutex>& lock) override;
  void released(Door& door, int count) override;

 private:
  void run_thread(Lane& lane);
  bool all_idle() { return idle_.fetch_add(1, std::memory_order_relaxed) + 1 == block_->size(); }
  void report_deadlock();
  void stop(std::exception_ptr failure);

  Block* block_ = nullptr;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  std::atomic<bool> failed_{false};
  // Lanes that wait and are not released, or have returned. Relaxed, for it must not order the lanes' accesses.
  std::atomic<int> idle_{0};
};

void Threads::run(Block& block) {
  block_ = &block;
  idle_.store(0, std::memory_order_relaxed);
  std::vector<std::thread> threads;
  threads.reserve(block.lanes.size());
  for (Lane& lane : block.lanes) threads.emplace_back(&Threads::run_thread, this, std::ref(lane));
  for (std::thread& thread : threads) thread.join();
  if (failure_) std::rethrow_exception(failure_);
}

void Threads::run_thread(Lane& lane) {
  block_->enter(lane);
  try {
    block_->run_lane(lane);
    {
      const auto lock = std::unique_lock<std::mutex>(block_->warps[lane.thread / 32]->door.mutex);
      lane.finished = true;
    }
    if (all_idle()) report_deadlock();
  } catch (const Abandoned&) {
  } catch (...) {
    stop(std::current_exception());
  }
}

std::unique_lock<std::mutex> Threads::lock(Door& door) {
  std::unique_lock<std::mutex> lock(door.mutex);
  // The stacks of lanes that have given up, and what they brought to a meeting, are gone.
  if (failed_.load(std::memory_order_relaxed)) throw Abandoned();
  return lock;
}

void Threads::wait(Door& door, std::unique_lock<std::mutex>& lock) {
  const Lane& lane = current_lane();
  if (all_idle()) {
    lock.unlock();
    report_deadlock();
    lock.lock();
  }
  door.condition.wait(lock, [&] { return lane.released || failed_.load(std::memory_order_relaxed); });
  if (!lane.released) throw Abandoned();
}

void Threads::released(Door& door, int count) {
  idle_.fetch_sub(count, std::memory_order_relaxed);
  door.condition.notify_all();
}

// All lanes are idle, so their states do not change any more; the doors' mutexes make them visible here.
void Threads::report_deadlock() {
  bool finished = true;
  for (Door& door : block_->doors) const std::lock_guard<std::mutex> visible(door.mutex);
  for (const Lane& lane : block_->lanes) {
    const std::unique_lock<std::mutex> lock(block_->warps[lane.thread / 32]->door.mutex);
    finished = finished && lane.finished;
  }
  if (!finished) throw Fault(block_->place() + ": threads wait for ever:" + block_->waits());
}

void Threads::stop(std::exception_ptr failure) {
  {
    const std::lock_guard<std::mutex> lock(failure_mutex_);
    if (!failure_) failure_ = failure;
  }
  failed_.store(true, std::memory_order_relaxed);
  const auto wake = [](Door& door) {
    const std::lock_guard<std::mutex> lock(door.mutex);
    door.condition.notify_all();
  };
  for (Door& door : block_->doors) wake(door);
  for (const auto& warp : block_->warps) wake(warp->door);
}

}  // namespace

std::unique_ptr<Scheduler> make_threads() {
  return std::make_unique<Threads>();
}

}  // namespace gatentk::emulation
