// Finds accesses to shared memory that no barrier orders, whichever lane happens to run first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "block.hpp"

namespace gatentk::emulation {

// Two accesses to a word by different lanes, at least one of them a write, race unless a barrier of the block or, for
// lanes of one warp, a __syncwarp lies between them. Only for lanes that take turns on one thread of the host.
class Races {
 public:
  explicit Races(int threads);

  // Forgets all accesses; `base` is what offsets count from.
  void reset(const std::byte* base, std::size_t bytes);
  void touch(int thread, const void* address, int bytes, Access access);
  // Before another lane runs: settles whether the last reference was written through.
  void settle();
  void block_barrier() { ++epoch_; }
  void warp_barrier(int warp, unsigned mask);

 private:
  struct Stamp {
    std::uint32_t epoch = 0;       // barriers of the block so far
    std::uint32_t warp_epoch = 0;  // of the lane
    std::uint16_t thread = 0;
    std::uint8_t bytes = 0;   // of the word
    bool many_lanes = false;  // reads: by other lanes of the warp, too
    bool many_warps = false;
  };
  struct Word {
    Stamp write, read;
  };

  void record(int thread, std::size_t offset, int bytes, bool write);
  bool ordered(const Stamp& before, int thread, bool reads) const;
  void note_read(Stamp& read, int thread, std::uint8_t bytes) const;
  [[noreturn]] void report(int thread, std::size_t offset, bool writes, const Stamp& before, bool wrote) const;

  std::vector<Word> words_;
  std::vector<std::uint32_t> warp_epochs_;  // of each lane
  std::uint32_t epoch_ = 0;
  const std::byte* base_ = nullptr;

  // The last reference that was handed out.
  static constexpr int longest = 16;
  std::byte* reference_ = nullptr;
  int reference_bytes_ = 0, reference_thread_ = 0;
  std::byte before_[longest];
};

}  // namespace gatentk::emulation
