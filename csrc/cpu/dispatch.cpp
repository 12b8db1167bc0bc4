// Chooses the kernel table: the best that the processor runs, GATENTK_ISA at start, or select_isa at run time.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "cpu/isa/tables.hpp"
#include "cpu/kernel_table.hpp"

namespace gatentk::cpu {

namespace {

struct Choice {
  const char* name;
  KernelTable (*make)();
  bool (*runs)();
};

bool always() {
  return true;
}

#ifdef GATENTK_X86
bool runs_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool runs_avx512() {
  return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

// Best first; "wide" is for tests and never chosen unasked.
constexpr Choice choices[] = {
#ifdef GATENTK_X86
    {"avx512", make_avx512_table, runs_avx512},
    {"avx2", make_avx2_table, runs_avx2},
#endif
    {"portable", make_portable_table, always},
#ifdef GATENTK_X86
    {"wide", make_wide_table, runs_avx2},
#else
    {"wide", make_wide_table, always},
#endif
};
constexpr int choice_count = sizeof choices / sizeof choices[0];

const Choice* find(const char* name) {
  for (const Choice& choice : choices)
    if (!std::strcmp(choice.name, name) && choice.runs()) return &choice;
  return nullptr;
}

[[noreturn]] void refuse(const char* what, const char* name) {
  std::string expected;
  for (const Choice& choice : choices)
    if (choice.runs()) expected += (expected.empty() ? "'" : ", '") + std::string(choice.name) + "'";
  throw std::invalid_argument(std::string(what) + ": expected one of the instruction sets " + expected +
                              " that this processor runs, got '" + name + "'");
}

const KernelTable* table_of(const Choice& choice) {
  static KernelTable tables[choice_count];
  KernelTable& table = tables[&choice - choices];
  if (!table.isa) table = choice.make();
  return &table;
}

const KernelTable* initial() {
  const char* forced = std::getenv("GATENTK_ISA");
  if (forced && *forced) {
    const Choice* choice = find(forced);
    if (!choice) refuse("GATENTK_ISA", forced);
    return table_of(*choice);
  }
  for (const Choice& choice : choices)
    if (choice.runs()) return table_of(choice);
  return nullptr;
}

std::atomic<const KernelTable*>& active() {
  static std::atomic<const KernelTable*> table{initial()};
  return table;
}

}  // namespace

const KernelTable& kernels() {
  return *active().load(std::memory_order_acquire);
}

const char* const* available_isas() {
  static const char* names[choice_count + 1] = {};
  if (!names[0]) {
    int count = 0;
    for (const Choice& choice : choices)
      if (choice.runs()) names[count++] = choice.name;
  }
  return names;
}

void select_isa(const char* name) {
  const Choice* choice = find(name);
  if (!choice) refuse("name", name);
  active().store(table_of(*choice), std::memory_order_release);
}

}  // namespace gatentk::cpu
