// A single tile in shared memory as a function of the host: its products, and where its fragments are loaded from.
#include <tuple>
#include <type_traits>

#include "cuda/device/language.cuh"
#include "cuda/device/launch.cuh"
#include "cuda/tile/multiply.cuh"

namespace gatentk::cuda {

namespace {

constexpr Layout inner = Layout::k_inner, outer = Layout::k_outer;

// A shape in every combination of layouts.
template <Arithmetic arithmetic, class Element, int rows, int columns, int warps_down, int warps_across>
using Layouts = std::tuple<Tile<arithmetic, Element, rows, columns, warps_down, warps_across, 2, inner, inner>,
                           Tile<arithmetic, Element, rows, columns, warps_down, warps_across, 2, inner, outer>,
                           Tile<arithmetic, Element, rows, columns, warps_down, warps_across, 2, outer, inner>,
                           Tile<arithmetic, Element, rows, columns, warps_down, warps_across, 2, outer, outer>>;

// Warps of the shapes of the kernels' configurations, and the narrowest tiles of each type.
using Tiles = decltype(std::tuple_cat(
    Layouts<Arithmetic::bf16, Bfloat16, 128, 64, 2, 1>(), Layouts<Arithmetic::bf16, Bfloat16, 32, 128, 1, 4>(),
    Layouts<Arithmetic::bf16, Bfloat16, 64, 32, 2, 2>(), Layouts<Arithmetic::tf32, float, 128, 64, 2, 1>(),
    Layouts<Arithmetic::tf32, float, 32, 64, 1, 2>(), Layouts<Arithmetic::tf32x3, float, 64, 128, 1, 4>(),
    Layouts<Arithmetic::tf32x3, float, 64, 32, 2, 1>(), Layouts<Arithmetic::f64, double, 64, 64, 2, 2>(),
    Layouts<Arithmetic::f64, double, 32, 16, 2, 1>()));
constexpr int tiles = std::tuple_size_v<Tiles>;

template <class Tile, Side side>
using FragmentsOf =
    std::conditional_t<Tile::arithmetic == Arithmetic::f64, DoubleFragments<Tile, side>, Fragments<Tile, side>>;

// Place of element (row, k) of a factor.
template <class Tile, Side side>
int place(int row, int k) {
  using Part = WarpPart<Tile, side>;
  if constexpr (Part::layout == outer) return outer_index<Tile, Part::extent>(k, row);
  return tile_index<Tile>(row, k);
}

// Whole numbers that a bfloat16 holds.
template <class T>
T element_of(double value) {
  if constexpr (std::is_same_v<T, Bfloat16>)
    return {static_cast<std::uint16_t>(__float_as_uint(static_cast<float>(value)) >> 16)};
  else
    return static_cast<T>(value);
}

template <class Tile, Side side>
void fill(const double* values, Shared<typename Tile::Element> part) {
  constexpr int extent = WarpPart<Tile, side>::extent;
  for (int i = static_cast<int>(threadIdx.x); i < extent * Tile::depth; i += Tile::threads)
    part[place<Tile, side>(i / Tile::depth, i % Tile::depth)] = element_of<typename Tile::Element>(values[i]);
}

template <class Tile>
__global__ void multiply_tile(const double* left, const double* right, double* out) {
  SharedArena arena;
  const Shared<typename Tile::Element> stage = arena.take<typename Tile::Element>(Tile::stage_elements, 128);
  const Shared<typename Tile::Element> columns = stage.from(Tile::rows * Tile::depth);
  fill<Tile, Side::left>(left, stage);
  fill<Tile, Side::right>(right, columns);
  __syncthreads();
  const Multiplier<Tile> multiply;
  Sums<Tile> sums;
  sums.clear();
  multiply(stage, columns, sums);
  for (int i = 0; i < Tile::sums_down; ++i)
    for (int j = 0; j < Tile::sums_across; ++j)
      out[Sums<Tile>::row(i) * Tile::columns + Sums<Tile>::column(j)] = sums.at(i, j);
}

// Loads of a stage whose elements hold their own places: what a fragment holds says where it was loaded from. out:
// [thread][fragment][register], of bfloat16 two places in a register.
template <class Tile, Side side>
__global__ void load_places(int step, long long* out) {
  using T = typename Tile::Element;
  using Place = std::conditional_t<sizeof(T) == 2, std::uint16_t, std::conditional_t<sizeof(T) == 4, int, double>>;
  using Parts = FragmentsOf<Tile, side>;
  constexpr int elements = Parts::extent * Tile::depth;
  SharedArena arena;
  const Shared<T> part = arena.take<T>(elements, 128);
  for (int i = static_cast<int>(threadIdx.x); i < elements; i += Tile::threads)
    part.template as<Place>()[i] = static_cast<Place>(i);
  __syncthreads();
  constexpr int registers = sizeof(T) == 8 ? 2 : side == Side::left ? 4 : 2;
  std::conditional_t<sizeof(T) == 8, double, unsigned> fragments[Parts::count][registers];
  const Parts parts;
  parts.load_all(part, step, fragments);
  for (int f = 0; f < Parts::count; ++f)
    for (int e = 0; e < registers; ++e)
      out[(static_cast<int>(threadIdx.x) * Parts::count + f) * registers + e] = static_cast<long long>(fragments[f][e]);
}

template <class Tile>
void describe(int* out) {
  using Left = FragmentsOf<Tile, Side::left>;
  using Right = FragmentsOf<Tile, Side::right>;
  const int said[] = {Tile::rows,
                      Tile::columns,
                      Tile::depth,
                      Tile::threads,
                      Left::count,
                      Right::count,
                      Left::steps,
                      static_cast<int>(sizeof(typename Tile::Element)),
                      Tile::left_layout == outer,
                      Tile::right_layout == outer};
  for (int i = 0; i < 10; ++i) out[i] = said[i];
}

// Calls run(tile) with the tile of that index.
template <int index = 0, class Run>
void with_tile(int wanted, Run&& run) {
  if constexpr (index < tiles) {
    if (index == wanted) return run(std::tuple_element_t<index, Tiles>());
    with_tile<index + 1>(wanted, run);
  }
}

}  // namespace

}  // namespace gatentk::cuda

#define GATENTK_EXPORT extern "C" __attribute__((visibility("default")))

using namespace gatentk::cuda;

GATENTK_EXPORT int tile_count() {
  return tiles;
}
// rows, columns, depth, threads, left and right fragments of a warp, steps, bytes of an element, and whether k is outer
GATENTK_EXPORT void describe_tile(int index, int* out) {
  with_tile(index, [&](auto tile) { describe<decltype(tile)>(out); });
}
// left [rows][depth], right [columns][depth], out [rows][columns]
GATENTK_EXPORT void multiply_tile(int index, const double* left, const double* right, double* out) {
  with_tile(index, [&](auto tile) {
    using Tile = decltype(tile);
    constexpr int bytes = Tile::stage_elements * static_cast<int>(sizeof(typename Tile::Element));
    launch(&gatentk::cuda::multiply_tile<Tile>, "multiply_tile", {dim3(1), Tile::threads, bytes, nullptr}, left, right,
           out);
  });
}
GATENTK_EXPORT void load_places(int index, int is_left, int step, long long* out) {
  with_tile(index, [&](auto tile) {
    using Tile = decltype(tile);
    constexpr int bytes = Tile::stage_elements * static_cast<int>(sizeof(typename Tile::Element));
    launch(is_left ? &gatentk::cuda::load_places<Tile, Side::left> : &gatentk::cuda::load_places<Tile, Side::right>,
           "load_places", {dim3(1), Tile::threads, bytes, nullptr}, step, out);
  });
}
