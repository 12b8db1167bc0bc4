#include <algorithm>
#include <type_traits>
#include <vector>

#include "cuda/device/launch.cuh"
#include "cuda/gram/gram.hpp"
#include "cuda/gram/kernel.cuh"
#include "cuda/tile/operand.hpp"

namespace gatentk::cuda {

namespace {

template <int configuration>
void start(const GramArguments<typename GramTile<configuration>::Element>& arguments, const Device& device) {
  constexpr TileConfiguration tile = gram_table[configuration];
  check_shared_bytes("gram", gram_shared_bytes(tile), device);
  const int down = (arguments.rows + tile.rows - 1) / tile.rows;
  const int across = (arguments.columns + tile.columns - 1) / tile.columns;
  launch(gram_kernel<configuration>, "gram",
         {dim3(static_cast<unsigned>(down) * static_cast<unsigned>(across)), tile.threads(), gram_shared_bytes(tile),
          device.stream},
         arguments, down, across);
}

template <class T, int index = 0>
void start_configuration(int configuration, const GramArguments<T>& arguments, const Device& device) {
  if constexpr (index < gram_configurations) {
    if constexpr (std::is_same_v<typename GramTile<index>::Element, T>)
      if (index == configuration) return start<index>(arguments, device);
    start_configuration<T, index + 1>(configuration, arguments, device);
  }
}

template <class T>
FactorArguments<T> factor(const Factor<T>& views) {
  return {operand(views.rows), operand(views.columns)};
}

// Terms that share a launch, which takes max_terms of them.
template <class T>
struct Launch {
  int configuration;
  std::vector<const GramTerm<T>*> terms;
};

template <class T>
Arithmetic arithmetic_for(Precision precision, const GramTerm<T>& term) {
  if (std::is_same_v<T, double>) return Arithmetic::f64;
  const Arithmetic act = arithmetic_of(precision, term.act.rows.width);
  return act == Arithmetic::tf32x3 ? arithmetic_of(precision, term.delta.rows.width) : act;
}

template <class T>
std::vector<Launch<T>> plan_launches(const GramProblem<T>& problem, Precision precision, const Device& device,
                                     int configuration) {
  std::vector<Launch<T>> launches;
  for (const GramTerm<T>& term : problem.terms) {
    const int chosen = configuration >= 0 ? configuration
                                          : choose_gram(arithmetic_for(precision, term), device, problem.rows,
                                                        problem.columns, problem.symmetric);
    const auto open = std::find_if(launches.begin(), launches.end(), [&](const Launch<T>& launch) {
      return launch.configuration == chosen && launch.terms.size() < max_terms;
    });
    if (open != launches.end())
      open->terms.push_back(&term);
    else
      launches.push_back({chosen, {&term}});
  }
  return launches;
}

}  // namespace

template <class T>
void gram(const GramProblem<T>& problem, Precision precision, const Device& device, int configuration) {
  if (!problem.rows || !problem.columns) return;
  if (configuration >= 0)
    check_configuration(gram_table, configuration,
                        std::is_same_v<T, double> ? Arithmetic::f64 : arithmetic_of(precision, min_tf32x3_width));
  const std::vector<Launch<T>> launches = plan_launches(problem, precision, device, configuration);
  for (const Launch<T>& launch : launches) {
    GramArguments<T> arguments{};
    arguments.count = 0;
    arguments.rows = kernel_size(problem.rows, "rows");
    arguments.columns = kernel_size(problem.columns, "columns");
    arguments.symmetric = problem.symmetric;
    arguments.first = &launch == &launches.front();
    arguments.last = &launch == &launches.back();
    arguments.out = problem.out;
    arguments.out_stride = problem.out_stride;
    for (const GramTerm<T>* term : launch.terms)
      arguments.terms[arguments.count++] = {{factor(term->act), factor(term->delta)}, term->bias};
    start_configuration(launch.configuration, arguments, device);
  }
}

template void gram(const GramProblem<float>&, Precision, const Device&, int);
template void gram(const GramProblem<double>&, Precision, const Device&, int);

}  // namespace gatentk::cuda
