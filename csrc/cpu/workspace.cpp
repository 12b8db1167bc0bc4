#include "cpu/workspace.hpp"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace gatentk::cpu {

namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t worth_it = 2 * huge_page;

// Memory that is kept: pieces of these sizes, of all threads together so much. Sanitizers want to see all of it.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t most_kept = 0;
#else
constexpr std::size_t most_kept = std::size_t{64} << 20;
#endif
constexpr std::size_t least_piece = std::size_t{64} << 10;

std::size_t rounded(std::size_t bytes) {
  const std::size_t alignment = bytes >= worth_it ? huge_page : 64;
  return std::max((bytes + alignment - 1) / alignment * alignment, alignment);
}

constexpr bool can_be_kept(std::size_t bytes) {
  return least_piece <= bytes && bytes <= most_kept;
}

// Whoever does not get the lock at once goes without: a fork may have left it locked for ever.
class Store {
 public:
  // The smallest piece of at least `bytes`, if it is not twice as large; null memory if there is none.
  Piece take(std::size_t bytes) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock) return {};
    auto best = pieces_.end();
    for (auto piece = pieces_.begin(); piece != pieces_.end(); ++piece)
      if (piece->bytes >= bytes && piece->bytes < 2 * bytes && (best == pieces_.end() || piece->bytes < best->bytes))
        best = piece;
    if (best == pieces_.end()) return {};
    const Piece found = *best;
    total_ -= found.bytes;
    pieces_.erase(best);
    return found;
  }

  // Keeps a piece, in place of older ones; whether it could.
  bool keep(const Piece& piece) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    while (total_ + piece.bytes > most_kept) {
      total_ -= pieces_.front().bytes;
      std::free(pieces_.front().memory);
      pieces_.erase(pieces_.begin());
    }
    pieces_.push_back(piece);
    total_ += piece.bytes;
    return true;
  }

 private:
  std::mutex mutex_;
  std::vector<Piece> pieces_;
  std::size_t total_ = 0;
};

// Never destroyed: threads may give memory back until the very end.
Store& store() {
  static Store* const only = new Store;
  return *only;
}

}  // namespace

Piece allocate(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  if (can_be_kept(size))
    if (const Piece kept = store().take(size); kept.memory) return kept;
  void* memory = std::aligned_alloc(bytes >= worth_it ? huge_page : 64, size);
  if (!memory) throw std::bad_alloc();
  advise_huge_pages(memory, size);
  return {memory, size};
}

void release(const Piece& piece) {
  if (!can_be_kept(piece.bytes) || !store().keep(piece)) std::free(piece.memory);
}

void advise_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  if (bytes < worth_it) return;
  const auto begin = (reinterpret_cast<std::uintptr_t>(memory) + huge_page - 1) / huge_page * huge_page;
  const auto end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / huge_page * huge_page;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace gatentk::cpu
