// Runs every kernel family on small problems with ragged edges, in memory that ends where the problem ends, so that a
// sanitizer sees every access: sanitizer_cases fibers|threads. Values are checked elsewhere.
#include <array>
#include <cstdio>
#include <cstring>
#include <deque>
#include <initializer_list>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda/block_matmul/block_matmul.hpp"
#include "cuda/block_matmul/block_weight_gradient.hpp"
#include "cuda/block_matmul/configurations.hpp"
#include "cuda/block_matmul/weight_gradient_configurations.hpp"
#include "cuda/gate_gram/configurations.hpp"
#include "cuda/gate_gram/gate_gram.hpp"
#include "cuda/gate_rows/gate_rows.hpp"
#include "cuda/gram/configurations.hpp"
#include "cuda/gram/gram.hpp"
#include "cuda/infinite_ntk/configurations.hpp"
#include "cuda/infinite_ntk/infinite_network.hpp"
#include "cuda/infinite_ntk/infinite_ntk.hpp"
#include "cuda/ordered_linear/ordered_linear.hpp"
#include "cuda/pack_bits/pack_bits.hpp"
#include "emulator/block.hpp"

namespace {

using namespace gatentk;
using cuda::Device;
using cuda::Precision;

// Fibers run all cases in every configuration. Threads, of which every warp function takes tens of context switches,
// run one case of each kernel, in the configuration that the heuristics choose for problems of this size.
bool all_cases = true;

template <class T>
std::vector<T> cases(std::initializer_list<T> list) {
  return all_cases ? std::vector<T>(list) : std::vector<T>{*list.begin()};
}

const std::vector<Device> devices = {{80, 108, 166912, nullptr}, {100, 148, 232448, nullptr}};

std::mt19937 generator(0);

std::int64_t row_bytes(std::int64_t width) {
  return (width + 127) / 128 * 16;
}

// Arrays that views point into.
template <class T>
T* array(std::size_t count) {
  static std::deque<std::vector<T>> arrays;
  return arrays.emplace_back(count).data();
}

template <class T>
void fill(T* values, std::size_t count) {
  std::normal_distribution<double> normal;
  for (std::size_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<T, cuda::Bfloat16>) {
      values[i].bits = static_cast<std::uint16_t>(0x3f80 + generator() % 128);
    } else {
      values[i] = static_cast<T>(normal(generator));
    }
  }
}

// Random bits with zeros behind the last column.
GateView random_gates(std::int64_t rows, std::int64_t width) {
  const std::int64_t stride = row_bytes(width);
  auto* bits = array<std::uint8_t>(static_cast<std::size_t>(rows * stride));
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t k = 0; k < width; ++k) {
      bits[i * stride + k / 8] |= static_cast<std::uint8_t>((generator() & 1u) << (k % 8));
    }
  }
  return {bits, stride};
}

// Rows follow each other, or in_chunks start at multiples of 16 bytes that zeros fill up.
template <class T>
RowsView<T> random_matrix(std::int64_t rows, std::int64_t width, bool in_chunks) {
  constexpr std::int64_t chunk = 16 / sizeof(T);
  RowsView<T> view;
  view.rows = rows;
  view.width = width;
  view.stride = in_chunks ? (width + chunk - 1) / chunk * chunk : width;
  T* values = array<T>(static_cast<std::size_t>(rows * view.stride));
  for (std::int64_t i = 0; i < rows; ++i) fill(values + i * view.stride, static_cast<std::size_t>(width));
  view.data = values;
  return view;
}

template <class T, std::size_t count>
std::vector<int> configurations(const cuda::TileConfiguration (&table)[count], Precision precision) {
  constexpr bool floats = std::is_same_v<T, float>, doubles = std::is_same_v<T, double>;
  const cuda::Arithmetic arithmetic = floats    ? cuda::arithmetic_of(precision, cuda::min_tf32x3_width)
                                      : doubles ? cuda::Arithmetic::f64
                                                : cuda::Arithmetic::bf16;
  std::vector<int> result = {-1};
  for (int i = 0; all_cases && i < static_cast<int>(count); ++i) {
    if (table[i].arithmetic == arithmetic) result.push_back(i);
  }
  return result;
}

template <class T>
std::vector<Precision> precisions() {
  if constexpr (!std::is_same_v<T, float>) return {Precision::strict};
  return {Precision::strict, Precision::tf32x3, Precision::tf32};
}

// Gates of units of 32 on both sides, weights as stored for a forward product and for an input gradient.
template <class T>
void block_matmul_cases() {
  constexpr std::int64_t n = 37, width = 72, columns = 88, block = 32, units = 3;
  cuda::BlockMatmul<T> product;
  T *left = array<T>(n * width), *right = array<T>(columns * width);
  fill(left, n * width);
  fill(right, columns * width);
  auto* lists = array<std::int32_t>(units * (n + 1));
  cuda::block_lists({random_gates(units, n), units, n, lists}, devices[0]);
  product.left = {left, n, width, width, random_gates(n, units)};
  product.out = array<T>(n * columns);
  product.out_stride = columns;
  product.block_left = block;
  for (const bool transposed : {false, true}) {
    product.right = {right, columns, width, transposed ? columns : width, {}, transposed};
    for (const Precision precision : precisions<T>()) {
      if (std::is_same_v<T, float> && precision == Precision::strict) continue;
      for (const int configuration : configurations<T>(cuda::block_matmul_table, precision)) {
        // Wide tiles take one unit.
        const bool listed = configuration < 0 || cuda::block_matmul_table[configuration].columns == block;
        product.lists = listed ? lists : nullptr;
        product.block_out = listed ? block : columns;
        cuda::block_matmul(product, precision, devices[0], configuration);
      }
    }
  }
}

// A matrix with a row for each of n samples, seen transposed.
template <class T>
RowsView<T> random_samples(std::int64_t n, std::int64_t width) {
  RowsView<T> view = random_matrix<T>(n, width, true);
  std::swap(view.rows, view.width);
  view.transposed = true;
  return view;
}

template <class T>
void block_weight_gradient_cases() {
  for (const auto& [n, rows, columns, block] :
       cases<std::array<std::int64_t, 4>>({{77, 40, 24, 16}, {600, 8, 16, 8}})) {
    cuda::BlockWeightGradient<T> gradient;
    gradient.left = random_samples<T>(n, rows);
    gradient.right = random_samples<T>(n, columns);
    gradient.out_stride = columns;
    gradient.out = array<T>(static_cast<std::size_t>(rows * columns));
    gradient.units_left = random_gates((rows + block - 1) / block, n);
    gradient.units_right = random_gates((columns + block - 1) / block, n);
    gradient.block_left = gradient.block_right = block;
    for (const Precision precision : precisions<T>()) {
      if (std::is_same_v<T, float> && precision == Precision::strict) continue;
      for (const int configuration : configurations<T>(cuda::weight_gradient_table, precision)) {
        cuda::block_weight_gradient(gradient, precision, devices[0], configuration);
      }
    }
  }
}

template <class T>
void ordered_linear_cases() {
  const RowsView<T> x = random_matrix<T>(9, 21, true), weight = random_matrix<T>(35, 21, true);
  cuda::ordered_linear(OrderedProduct<T>{x, weight, true, array<T>(9 * 35), 35}, devices[0]);
}

template <class T>
GramTerm<T> gram_term(std::int64_t rows, std::int64_t columns, bool symmetric, std::int64_t act, std::int64_t delta) {
  GramTerm<T> term;
  term.act.rows = random_matrix<T>(rows, act, true);
  term.act.columns = symmetric ? term.act.rows : random_matrix<T>(columns, act, true);
  term.bias = 0.5;
  if (delta == 0) return term;
  term.delta.rows = random_matrix<T>(rows, delta, true);
  term.delta.columns = symmetric ? term.delta.rows : random_matrix<T>(columns, delta, true);
  return term;
}

template <class T>
void gram_cases() {
  for (const bool symmetric : cases({true, false})) {
    GramProblem<T> problem;
    problem.rows = 35;
    problem.columns = symmetric ? 35 : 18;
    problem.symmetric = symmetric;
    problem.terms = {gram_term<T>(35, problem.columns, symmetric, 69, 0),
                     gram_term<T>(35, problem.columns, symmetric, 66, 77)};
    problem.out_stride = problem.columns;
    problem.out = array<T>(static_cast<std::size_t>(problem.rows * problem.columns));
    for (const Precision precision : precisions<T>())
      for (const int configuration : configurations<T>(cuda::gram_table, precision))
        cuda::gram(problem, precision, devices[0], configuration);
  }
}

template <class T>
InfiniteProblem<T> infinite_problem(Quantity quantity, bool symmetric) {
  InfiniteProblem<T> problem;
  problem.quantity = quantity;
  problem.symmetric = symmetric;
  problem.x = random_matrix<T>(37, 7, false);
  problem.z = symmetric ? problem.x : random_matrix<T>(33, 7, false);
  problem.depths = {1, 3};
  if (by_layer(quantity)) problem.depths = {3};
  problem.out_stride = problem.z.rows;
  problem.out_slice = problem.x.rows * problem.z.rows;
  problem.out = array<T>(static_cast<std::size_t>(problem.outputs() * problem.out_slice));
  return problem;
}

// -1 and the configurations for T.
template <class T>
std::vector<int> infinite_configurations() {
  std::vector<int> result = {-1};
  for (int i = 0; all_cases && i < static_cast<int>(std::size(cuda::infinite_configurations)); ++i)
    if (cuda::infinite_configurations[i].element_bytes == sizeof(T)) result.push_back(i);
  return result;
}

template <class T>
void infinite_ntk_cases() {
  for (const auto& [name, quantity] : quantities) {
    if (of_network(quantity)) continue;
    if (!all_cases && quantity != Quantity::relu_components && quantity != Quantity::relu) continue;
    for (const bool symmetric : cases({true, false})) {
      const InfiniteProblem<T> problem = infinite_problem<T>(quantity, symmetric);
      T* workspace = array<T>(static_cast<std::size_t>(cuda::infinite_workspace(problem)));
      for (const int i : infinite_configurations<T>()) cuda::infinite_ntk(problem, workspace, devices[0], i);
    }
  }
}

template <class T>
void infinite_network_cases() {
  for (const auto& [name, quantity] : quantities) {
    if (!of_network(quantity) || (sizeof(T) == 4 && !is_piecewise_linear(quantity))) continue;
    if (!all_cases && is_nngp(quantity)) continue;
    for (const bool symmetric : cases({true, false})) {
      for (const double bias : cases({0.3, 0.0})) {
        InfiniteProblem<T> problem = infinite_problem<T>(quantity, symmetric);
        problem.network = {0.2, 1, 2, bias};
        T* workspace = array<T>(static_cast<std::size_t>(cuda::infinite_network_workspace(problem)));
        for (const int i : infinite_configurations<T>()) cuda::infinite_network(problem, workspace, devices[0], i);
      }
    }
  }
}

void gate_gram_cases() {
  constexpr std::int64_t rows = 35, columns = 18, width = 300;
  for (const bool symmetric : cases({true, false})) {
    GateGram problem;
    problem.rows = random_gates(rows, width);
    problem.row_count = rows;
    problem.columns = symmetric ? problem.rows : random_gates(columns, width);
    problem.column_count = symmetric ? rows : columns;
    problem.row_bytes = row_bytes(width);
    problem.symmetric = symmetric;
    problem.out = array<std::int32_t>(static_cast<std::size_t>(rows * problem.column_count));
    for (const Device& device : devices) cuda::gate_gram(problem, device);
    for (int i = 0; all_cases && i < static_cast<int>(std::size(cuda::gate_gram_configurations)); ++i) {
      cuda::gate_gram(problem, devices[0], i);
    }
  }
}

// In and out may start at odd places; the second call masks in place.
template <class T>
void gate_rows_cases() {
  constexpr std::int64_t rows = 9;
  for (const auto& [width, block, from, to] : cases<std::array<std::int64_t, 4>>(
           {{300, 1, 0, 0}, {96, 5, 0, 0}, {96, 32, 1, 0}, {96, 96, 0, 1}, {31, 1, 0, 0}})) {
    T* const values = array<T>(static_cast<std::size_t>(rows * width + from)) + from;
    T* const out = array<T>(static_cast<std::size_t>(rows * width + to)) + to;
    fill(values, static_cast<std::size_t>(rows * width));
    const GateView gates = random_gates(rows, (width + block - 1) / block);
    cuda::gate_rows(GateRowsProblem<T>{values, width, rows, width, block, gates, out, width}, devices[0]);
    cuda::gate_rows(GateRowsProblem<T>{values, width, rows, width, block, gates, values, width}, devices[0]);
  }
}

void pack_bits_cases() {
  for (const std::int64_t width : cases<std::int64_t>({300, 31, 1})) {
    constexpr std::int64_t rows = 45;
    const std::int64_t bytes = row_bytes(width), transposed_bytes = row_bytes(rows), stride = width + 1;
    auto* mask = array<std::uint8_t>(static_cast<std::size_t>((rows - 1) * stride + width));
    for (std::int64_t i = 0; i < (rows - 1) * stride + width; ++i) mask[i] = generator() % 3;
    auto* bits = array<std::uint8_t>(static_cast<std::size_t>(rows * bytes));
    cuda::pack_bits({mask, stride, rows, width, bits, bytes}, devices[0]);
    cuda::unpack_bits({bits, bytes, rows, width, array<std::uint8_t>(static_cast<std::size_t>(rows * width))},
                      devices[0]);
    auto* transposed_bits = array<std::uint8_t>(static_cast<std::size_t>(width * transposed_bytes));
    cuda::transpose_bits({bits, bytes, rows, width, transposed_bits, transposed_bytes}, devices[0]);
  }
}

struct Family {
  const char* name;
  void (*run)();
};

constexpr Family families[] = {
    {"block_matmul float", &block_matmul_cases<float>},
    {"block_matmul double", &block_matmul_cases<double>},
    {"block_matmul bfloat16", &block_matmul_cases<cuda::Bfloat16>},
    {"block_weight_gradient float", &block_weight_gradient_cases<float>},
    {"block_weight_gradient double", &block_weight_gradient_cases<double>},
    {"block_weight_gradient bfloat16", &block_weight_gradient_cases<cuda::Bfloat16>},
    {"ordered_linear float", &ordered_linear_cases<float>},
    {"ordered_linear double", &ordered_linear_cases<double>},
    {"gram float", &gram_cases<float>},
    {"gram double", &gram_cases<double>},
    {"infinite_ntk float", &infinite_ntk_cases<float>},
    {"infinite_ntk double", &infinite_ntk_cases<double>},
    {"infinite_network float", &infinite_network_cases<float>},
    {"infinite_network double", &infinite_network_cases<double>},
    {"gate_gram", &gate_gram_cases},
    {"gate_rows float", &gate_rows_cases<float>},
    {"gate_rows double", &gate_rows_cases<double>},
    {"gate_rows bfloat16", &gate_rows_cases<cuda::Bfloat16>},
    {"pack_bits", &pack_bits_cases},
};

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 2;
  if (std::strcmp(words[1], "threads") == 0) {
    all_cases = false;
    emulation::set_runner(emulation::Runner::threads);
  }
  for (const Family& family : families) {
    try {
      family.run();
    } catch (const std::exception& error) {
      std::printf("%s: %s\n", family.name, error.what());
      return 1;
    }
    std::printf("%s\n", family.name);
    std::fflush(stdout);
  }
  return 0;
}
