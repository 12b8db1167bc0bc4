#include "races.hpp"

#include <algorithm>
#include <cstring>

#include "lanes.hpp"

namespace gatentk::emulation {

Races::Races(int threads) : warp_epochs_(static_cast<std::size_t>(threads)) {}

void Races::reset(const std::byte* base, std::size_t bytes) {
  base_ = base;
  ++epoch_;  // makes every older stamp an ordered one
  words_.resize(std::max(words_.size(), bytes / 4 + 1));
}

void Races::touch(int thread, const void* address, int bytes, Access access) {
  settle();
  const std::size_t offset = static_cast<const std::byte*>(address) - base_;
  if (access != Access::refer) return record(thread, offset, bytes, access == Access::write);
  if (bytes > longest) return record(thread, offset, bytes, false);
  reference_ = const_cast<std::byte*>(static_cast<const std::byte*>(address));
  reference_bytes_ = bytes;
  reference_thread_ = thread;
  std::memcpy(before_, reference_, bytes);
}

void Races::settle() {
  if (reference_ == nullptr) return;
  const bool written = std::memcmp(before_, reference_, reference_bytes_) != 0;
  const std::size_t offset = reference_ - base_;
  reference_ = nullptr;
  record(reference_thread_, offset, reference_bytes_, written);
}

void Races::warp_barrier(int warp, unsigned mask) {
  std::uint32_t latest = 0;
  const auto for_lanes = [&](auto&& action) {
    for (int lane = 0; lane < 32; ++lane) {
      if ((mask >> lane & 1u) != 0) action(warp_epochs_[static_cast<std::size_t>(32 * warp + lane)]);
    }
  };
  for_lanes([&](std::uint32_t& epoch) { latest = std::max(latest, epoch); });
  for_lanes([&](std::uint32_t& epoch) { epoch = latest + 1; });
}

bool Races::ordered(const Stamp& before, int thread, bool reads) const {
  if (before.epoch != epoch_) return true;
  if (reads && before.many_warps) return false;
  if (before.thread / 32 != thread / 32) return false;
  if (before.warp_epoch < warp_epochs_[static_cast<std::size_t>(thread)]) return true;
  return before.thread == thread && !(reads && before.many_lanes);
}

void Races::note_read(Stamp& read, int thread, std::uint8_t bytes) const {
  const std::uint32_t warp_epoch = warp_epochs_[static_cast<std::size_t>(thread)];
  if (read.epoch == epoch_ && read.thread / 32 != thread / 32) {
    read.many_warps = true;
    read.bytes |= bytes;
  } else if (read.epoch == epoch_ && read.warp_epoch >= warp_epoch) {
    read.many_lanes |= read.thread != thread;
    read.bytes |= bytes;
  } else {
    const bool many_warps = read.epoch == epoch_ && read.many_warps;
    read = {epoch_, warp_epoch, static_cast<std::uint16_t>(thread), bytes, false, many_warps};
  }
}

void Races::report(int thread, std::size_t offset, bool writes, const Stamp& before, bool wrote) const {
  const std::string others = before.many_lanes || before.many_warps ? " and others" : "";
  fail("race: thread " + std::to_string(thread) + (writes ? " writes" : " reads") + " byte " +
       std::to_string(current_block().arena.offset(base_ + offset)) + " of shared memory, which thread " +
       std::to_string(before.thread) + others + (wrote ? " wrote" : " read") + " since the last barrier");
}

void Races::record(int thread, std::size_t offset, int bytes, bool write) {
  const std::size_t end = offset + static_cast<std::size_t>(bytes);
  while (offset < end) {
    const std::size_t first = offset % 4, count = std::min(4 - first, end - offset);
    const auto touched = static_cast<std::uint8_t>(((1u << count) - 1) << first);
    Word& word = words_[offset / 4];
    if ((word.write.bytes & touched) != 0 && !ordered(word.write, thread, false)) {
      report(thread, offset, write, word.write, true);
    }
    if (write) {
      if ((word.read.bytes & touched) != 0 && !ordered(word.read, thread, true)) {
        report(thread, offset, true, word.read, false);
      }
      word.write = {
          epoch_, warp_epochs_[static_cast<std::size_t>(thread)], static_cast<std::uint16_t>(thread), touched, false,
          false};
    } else {
      note_read(word.read, thread, touched);
    }
    offset += count;
  }
}

}  // namespace gatentk::emulation
