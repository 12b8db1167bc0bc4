// What the layers of a network ask of each sample alone, as gatentk/sample_layers.hpp has it, for all samples.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "gatentk/infinite_ntk.hpp"

namespace gatentk::cpu {

// Tables of slices, an array for each field, and diagonals.
template <class T>
class SampleLayers {
 public:
  // `padded` samples to an array; those beyond the rows are as rows of zeros.
  SampleLayers(const InfiniteProblem<T>& problem, const RowsView<T>& samples, std::int64_t padded, int threads);

  const T* table() const { return table_.empty() ? nullptr : table_.data(); }
  std::int64_t pitch() const { return pitch_; }
  // The kernel of sample i and itself, at the k-th wanted depth.
  T diagonal(std::int64_t k, std::int64_t i) const { return diagonals_[k * pitch_ + i]; }
  // The smallest and largest p of a slice.
  struct Turns {
    double least, most;
  };
  Turns turns(std::int64_t layer) const;

 private:
  class Sink;

  std::int64_t rows_, pitch_;
  std::vector<T> table_, diagonals_;
};

// The network as the kernels have it. `levels` gets the polynomials that serve the angles between all samples.
template <class T>
NetworkTile<T> network_tile(const InfiniteProblem<T>& problem, const SampleLayers<T>& x, const SampleLayers<T>& z,
                            std::vector<std::uint8_t>& levels);

}  // namespace gatentk::cpu
