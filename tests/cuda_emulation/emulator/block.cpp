// Launches, collective functions and asynchronous copies of emulated blocks.
#include "block.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <string>

#include "collectives.hpp"
#include "lanes.hpp"
#include "language.hpp"
#include "shared.hpp"

namespace gatentk::emulation {

namespace {

thread_local Block* block_here = nullptr;
thread_local Lane* lane_here = nullptr;

struct Settings {
  LaneOrder order = LaneOrder::forward;
  unsigned seed = 0;
  Runner runner = Runner::fibers;
};
Settings settings;

std::string site_text(const char* what, Site site) {
  const char* slash = std::strrchr(site.file, '/');
  return std::string(what) + " (" + (slash == nullptr ? site.file : slash + 1) + ":" + std::to_string(site.line) + ")";
}

std::string mask_text(unsigned mask) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) text += digits[mask >> shift & 15u];
  return text;
}

std::string triple(dim3 v) {
  return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

// "3-17" or "3".
std::string range(int first, int last) {
  return first == last ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(last);
}

std::string state(const Lane& lane) {
  if (lane.finished) return "returned";
  if (!lane.waiting) return "runs";
  const std::string where = "waits in " + site_text(lane.waits_in, lane.site);
  return lane.mask == 0 ? where : where + " with mask " + mask_text(lane.mask);
}

void begin_wait(Lane& lane, const char* what, Site site, unsigned mask) {
  lane.waiting = true;
  lane.released = false;
  lane.waits_in = what;
  lane.site = site;
  lane.mask = mask;
}

void release(Lane& lane) {
  lane.waiting = false;
  lane.released = true;
}

bool same_site(const Lane& lane, const char* what, Site site) {
  return lane.site.line == site.line && std::strcmp(lane.waits_in, what) == 0 &&
         std::strcmp(lane.site.file, site.file) == 0;
}

void settle_references() {
  if (block_here->races) block_here->races->settle();
}

}  // namespace

Block& current_block() {
  return *block_here;
}
Lane& current_lane() {
  return *lane_here;
}

void set_lane_order(LaneOrder order, unsigned seed) {
  settings.order = order;
  settings.seed = seed;
}
void set_runner(Runner runner) {
  settings.runner = runner;
}

void fail(const std::string& what) {
  std::string where;
  if (block_here != nullptr) where = block_here->place();
  if (lane_here != nullptr) where += ", thread " + std::to_string(lane_here->thread);
  throw Fault(where + ": " + what);
}

Block::Block(const char* kernel, dim3 grid, int threads, int shared_bytes, const std::function<void()>& body,
             Scheduler& scheduler, bool detects_races)
    : kernel(kernel), grid(grid), shared_bytes(shared_bytes), lanes(threads), scheduler(scheduler), body_(body) {
  for (int thread = 0; thread < threads; ++thread) lanes[thread].thread = thread;
  for (int first = 0; first < threads; first += 32) warps.push_back(std::make_unique<Warp>());
  if (detects_races) races = std::make_unique<Races>((threads + 31) / 32 * 32);
}

void Block::run(uint3 new_index) {
  index = new_index;
  arena.reset(shared_bytes);
  if (races) races->reset(arena.base(), arena.reach());
  at_barrier = predicates = 0;
  for (const auto& warp : warps) warp->meetings.clear();
  for (Lane& lane : lanes) {
    lane.finished = lane.waiting = lane.released = false;
    lane.copies.clear();
    lane.groups = 0;
    lane.barriers = 0;
    lane.spans = 0;
  }
  block_here = this;
  scheduler.run(*this);
  lane_here = nullptr;
  arena.check_redzones();
}

void Block::enter(Lane& lane) {
  block_here = this;
  lane_here = &lane;
  threadIdx = {static_cast<unsigned>(lane.thread), 0, 0};
  blockIdx = index;
  blockDim = dim3(static_cast<unsigned>(size()));
  gridDim = grid;
}

void Block::run_lane(Lane& lane) {
  body_();
  settle_references();
  finish(lane);
}

void Block::finish(Lane& lane) {
  for (const Copy& copy : lane.copies) {
    fail(copy.group == lane.groups ? "a copy was started but never committed"
                                   : "a committed copy was never waited for");
  }
}

std::string Block::place() const {
  return std::string(kernel) + ", block " + triple(dim3(index.x, index.y, index.z));
}

std::string Block::waits() const {
  std::string text;
  for (int first = 0; first < size();) {
    const std::string what = state(lanes[first]);
    int last = first;
    while (last + 1 < size() && state(lanes[last + 1]) == what) ++last;
    text += "\n  " + range(first, last) + " " + what;
    first = last + 1;
  }
  return text;
}

void combine_barrier(Contributions, unsigned mask) {
  if (block_here->races) block_here->races->warp_barrier(lane_here->thread / 32, mask);
}

void meet_warp(const char* what, unsigned mask, Combine combine, void* mine, Site site) {
  settle_references();
  Block& block = *block_here;
  Lane& me = *lane_here;
  const int first = me.thread / 32 * 32, lane = me.thread - first;
  if ((mask >> lane & 1u) == 0) {
    fail(site_text(what, site) + " with mask " + mask_text(mask) + ", which does not hold the calling lane " +
         std::to_string(lane));
  }
  Warp& warp = *block.warps[first / 32];
  auto lock = block.scheduler.lock(warp.door);
  auto meeting = std::find_if(warp.meetings.begin(), warp.meetings.end(),
                              [&](const Meeting& other) { return other.mask == mask; });
  if (meeting == warp.meetings.end()) {
    warp.meetings.push_back({mask, what, combine, 0, {}});
    meeting = warp.meetings.end() - 1;
  }
  if (meeting->combine != combine || std::strcmp(meeting->what, what) != 0) {
    fail("lanes of one mask meet in different functions: " + site_text(what, site) + " and " + meeting->what);
  }
  meeting->here |= 1u << lane;
  meeting->contributions[lane] = mine;
  if (meeting->here != mask) {
    begin_wait(me, what, site, mask);
    block.scheduler.wait(warp.door, lock);
    return;
  }
  combine(meeting->contributions, mask);
  *meeting = warp.meetings.back();
  warp.meetings.pop_back();
  int count = 0;
  for (unsigned others = mask & ~(1u << lane); others != 0; others &= others - 1, ++count) {
    release(block.lanes[first + __builtin_ctz(others)]);
  }
  block.scheduler.released(warp.door, count);
}

int meet_block(const char* what, bool predicate, Site site) {
  settle_references();
  Block& block = *block_here;
  Lane& me = *lane_here;
  Door& door = block.doors[me.barriers++ % 2];
  auto lock = block.scheduler.lock(door);
  block.predicates += predicate ? 1 : 0;
  ++block.at_barrier;
  begin_wait(me, what, site, 0);
  if (block.at_barrier < block.size()) {
    block.scheduler.wait(door, lock);
    return me.outcome;
  }
  for (const Lane& lane : block.lanes) {
    if (!same_site(lane, what, site)) fail("divergent barrier, threads wait at different places:" + block.waits());
  }
  const int outcome = block.predicates;
  for (Lane& lane : block.lanes) {
    lane.outcome = outcome;
    release(lane);
  }
  block.at_barrier = block.predicates = 0;
  if (block.races) block.races->block_barrier();
  block.scheduler.released(door, block.size() - 1);
  return outcome;
}

void* take_shared(int bytes, int alignment) {
  Block& block = *block_here;
  const auto lock = block.scheduler.lock(block.arena_door);
  return block.arena.take(lane_here->spans++, bytes, alignment);
}

void touch(const void* address, int bytes, Access access) {
  if (block_here->races) block_here->races->touch(lane_here->thread, address, bytes, access);
}

void start_copy(void* to, const void* from, int bytes, int valid) {
  if (valid != 0 && valid != bytes) {
    fail("a copy of " + std::to_string(bytes) + " bytes with " + std::to_string(valid) + " of them valid");
  }
  if (reinterpret_cast<std::uintptr_t>(from) % static_cast<unsigned>(bytes) != 0) {
    fail("misaligned: the source of a copy of " + std::to_string(bytes) + " bytes");
  }
  touch(to, bytes, Access::write);
  std::memset(to, 0xff, bytes);
  lane_here->copies.push_back(
      {static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes, valid, lane_here->groups});
}

void commit_copies() {
  ++lane_here->groups;
}

void wait_copies(int left) {
  Lane& lane = *lane_here;
  const std::int64_t arrived = lane.groups - left;
  std::size_t kept = 0;
  for (const Copy& copy : lane.copies) {
    if (copy.group >= arrived) {
      lane.copies[kept++] = copy;
      continue;
    }
    touch(copy.to, copy.bytes, Access::write);
    std::memset(copy.to, 0, copy.bytes);
    std::memcpy(copy.to, copy.from, copy.valid);
  }
  lane.copies.resize(kept);
}

namespace {

void check_launch(const char* kernel, dim3 blocks, int threads, int shared_bytes) {
  constexpr int most_threads = 1024, most_shared_bytes = 227 * 1024;
  constexpr unsigned most_blocks_yz = 65535;
  const auto refuse = [&](const std::string& what) { throw Fault(std::string(kernel) + ": launched with " + what); };
  if (threads < 1 || threads > most_threads) refuse(std::to_string(threads) + " threads");
  if (shared_bytes < 0 || shared_bytes > most_shared_bytes)
    refuse(std::to_string(shared_bytes) + " bytes of shared memory");
  if (blocks.x > INT_MAX || blocks.y > most_blocks_yz || blocks.z > most_blocks_yz) refuse("blocks " + triple(blocks));
}

// Blocks in the order of the lanes: a kernel must not depend on either.
std::vector<std::uint64_t> block_order(std::uint64_t count) {
  std::vector<std::uint64_t> order(count);
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  if (settings.order == LaneOrder::reversed) std::reverse(order.begin(), order.end());
  if (settings.order == LaneOrder::shuffled) std::shuffle(order.begin(), order.end(), std::mt19937(settings.seed));
  return order;
}

struct NobodyHere {
  ~NobodyHere() {
    block_here = nullptr;
    lane_here = nullptr;
  }
};

}  // namespace

void run_grid(const char* kernel, dim3 blocks, int threads, int shared_bytes, const std::function<void()>& thread) {
  check_launch(kernel, blocks, threads, shared_bytes);
  const bool fibers = settings.runner == Runner::fibers;
  const auto scheduler = fibers ? make_fibers(settings.order, settings.seed) : make_threads();
  const NobodyHere cleanup;
  Block block(kernel, blocks, threads, shared_bytes, thread, *scheduler, fibers);
  for (const std::uint64_t i : block_order(std::uint64_t{blocks.x} * blocks.y * blocks.z)) {
    const auto x = static_cast<unsigned>(i % blocks.x);
    const auto y = static_cast<unsigned>(i / blocks.x % blocks.y);
    const auto z = static_cast<unsigned>(i / blocks.x / blocks.y);
    block.run({x, y, z});
  }
}

}  // namespace gatentk::emulation

gatentk::cuda::SharedArena::SharedArena() {
  if (gatentk::emulation::current_lane().spans != 0) {
    gatentk::emulation::fail("a thread makes a second arena; use from() and as() to use memory twice");
  }
}
