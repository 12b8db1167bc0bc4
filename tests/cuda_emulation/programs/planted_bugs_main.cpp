// Runs planted bugs: planted_bugs fibers|threads forward|reversed|shuffled sound|broken NAME...
// Prints a line for each: its name, then "right", "wrong" or what the emulator found.
#include <cstdio>
#include <cstring>
#include <string>

#include "emulator/block.hpp"
#include "planted_bugs.hpp"

namespace {

namespace emulation = gatentk::emulation;

emulation::LaneOrder order(const std::string& name) {
  if (name == "reversed") return emulation::LaneOrder::reversed;
  return name == "shuffled" ? emulation::LaneOrder::shuffled : emulation::LaneOrder::forward;
}

std::string outcome(const gatentk::cuda::PlantedBug& bug, bool sound) {
  try {
    return (sound ? bug.sound() : bug.broken()) ? "right" : "wrong";
  } catch (const emulation::Fault& fault) {
    return fault.what();
  }
}

}  // namespace

int main(int count, char** words) {
  if (count < 5) return 2;
  emulation::set_runner(std::strcmp(words[1], "threads") == 0 ? emulation::Runner::threads : emulation::Runner::fibers);
  emulation::set_lane_order(order(words[2]), 1);
  for (int i = 4; i < count; ++i) {
    const gatentk::cuda::PlantedBug* bug = gatentk::cuda::find_planted_bug(words[i]);
    if (bug == nullptr) return 2;
    std::string text = outcome(*bug, std::strcmp(words[3], "sound") == 0);
    for (char& c : text) c = c == '\n' ? ' ' : c;
    std::printf("%s %s\n", words[i], text.c_str());
    std::fflush(stdout);
  }
  return 0;
}
