// The block of the products in a fixed order: a single one, nothing to choose.
#pragma once

#include "cuda/tile/configuration.hpp"

namespace gatentk::cuda {

// 64 x 64 outputs, 8 x 4 a thread, two stages.
inline constexpr TileConfiguration ordered_tile = {"64x64", Arithmetic::fma, 64, 64, 2, 2, 2, 3, 3};
constexpr int ordered_shared_bytes = ordered_tile.stages * ordered_tile.stage_bytes();

}  // namespace gatentk::cuda
