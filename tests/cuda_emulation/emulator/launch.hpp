// Starts a kernel in the emulation and waits for it; what a device may have is for the caller to make up.
#pragma once

#include "block.hpp"

namespace gatentk::cuda {

inline int query_shared_bytes(int) {
  return 0;
}

template <class... Params, class... Args>
void launch(void (*kernel)(Params...), const char* name, const Grid& grid, Args... args) {
  emulation::run_grid(name, grid.blocks, grid.threads, grid.shared_bytes,
                      [&] { kernel(static_cast<Params>(args)...); });
}

}  // namespace gatentk::cuda
