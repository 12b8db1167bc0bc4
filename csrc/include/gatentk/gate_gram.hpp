// How many gates two samples have on in common.
#pragma once

#include <cstdint>

#include "gatentk/views.hpp"

namespace gatentk {

struct GateGram {
  GateView rows, columns;  // symmetric: the same
  std::int64_t row_count = 0, column_count = 0;
  std::int64_t row_bytes = 0;   // of both
  bool symmetric = false;       // one triangle is computed and mirrored
  std::int32_t* out = nullptr;  // [row_count][column_count], written
};

}  // namespace gatentk
