// Products with gates of blocks of neurons, on the CPU. Results do not depend on the number of threads.
#pragma once

#include "gatentk/blocks.hpp"

namespace gatentk::cpu {

template <class T>
void block_product(const BlockProduct<T>& product, int threads);

template <class T>
void block_weight_gradient(const BlockWeightGradient<T>& gradient, int threads);

// to = from, both of the same width and block, zeros where the gates of `to` are off.
template <class T>
void copy_blocks(const BlockView<const T>& from, const BlockView<T>& to, int threads);

void expand_bits(const ExpandBits& problem, int threads);

template <class T>
void gate_rows(const GateRowsProblem<T>& problem, int threads);

template <class T>
void add_gated_bias(const GatedBias<T>& problem, int threads);

template <class T>
void gated_sums(const GatedSums<T>& problem, int threads);

}  // namespace gatentk::cpu
