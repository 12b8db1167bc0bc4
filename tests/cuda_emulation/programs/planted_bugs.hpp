// Kernels with a known mistake, by name.
#pragma once

namespace gatentk::cuda {

// Both run a kernel and say whether its result is right; they throw what the emulator finds.
struct PlantedBug {
  const char* name;
  bool (*sound)();
  bool (*broken)();
};

// Null if there is none of that name.
const PlantedBug* find_planted_bug(const char* name);

}  // namespace gatentk::cuda
