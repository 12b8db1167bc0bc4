#include "cpu/workspace.hpp"

#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace gatentk::cpu {

namespace {
constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t worth_it = 2 * huge_page;
}  // namespace

void* allocate(std::size_t bytes) {
  const std::size_t alignment = bytes >= worth_it ? huge_page : 64;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded ? rounded : alignment);
  if (!memory) throw std::bad_alloc();
  advise_huge_pages(memory, rounded);
  return memory;
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
