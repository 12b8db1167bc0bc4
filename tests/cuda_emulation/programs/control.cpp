// Switches of the emulation, for Python's ctypes.
#include "emulator/block.hpp"
#include "emulator/tensor_core.hpp"

extern "C" __attribute__((visibility("default"))) void gatentk_set_lane_order(int order, unsigned seed) {
  gatentk::emulation::set_lane_order(static_cast<gatentk::emulation::LaneOrder>(order), seed);
}

extern "C" __attribute__((visibility("default"))) void gatentk_set_tensor_cores(int architecture) {
  gatentk::emulation::set_tensor_cores(architecture);
}
