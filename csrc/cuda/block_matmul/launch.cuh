// Checks, choice and launch of one element type's products.
#pragma once

#include <string>
#include <type_traits>

#include "cuda/block_matmul/block_matmul.hpp"
#include "cuda/block_matmul/kernel.cuh"
#include "cuda/device/launch.cuh"
#include "cuda/tile/grid.hpp"
#include "cuda/tile/operand.hpp"

namespace gatentk::cuda {

// Rows of whole chunks at multiples of 16 bytes. `length` is that of the rows as stored.
template <class T>
void check_rows(const char* name, const T* data, std::int64_t length, std::int64_t stride) {
  constexpr int chunk = 16 / static_cast<int>(sizeof(T));
  if (!aligned(data, 16) || stride % chunk || length % chunk)
    refuse(name, "expected rows of a multiple of 16 bytes that start at such multiples, got rows of " +
                     std::to_string(length) + " elements of " + std::to_string(sizeof(T)) + " bytes, " +
                     std::to_string(stride) + " apart, at an address that is " +
                     std::to_string(reinterpret_cast<std::uintptr_t>(data) % 16) + " beyond such a multiple");
}

inline void check_block(const char* name, std::int64_t block) {
  if (block <= 0 || block % 32) refuse(name, "expected a multiple of 32 neurons, got " + std::to_string(block));
}

// Between stored rows, in chunks of 16 bytes; all of them are counted in 32 bits.
template <class T>
unsigned chunks_apart(const char* name, std::int64_t rows, std::int64_t stride) {
  const std::int64_t chunks = stride * static_cast<std::int64_t>(sizeof(T)) / 16;
  if (stride < 0 || rows * chunks > 0xffffffffll)
    refuse(name, std::to_string(rows) + " rows of " + std::to_string(stride) + " elements are more than 64 GB");
  return static_cast<unsigned>(chunks);
}

template <class T>
void check_product(const BlockMatmul<T>& product) {
  const RowsView<T>&left = product.left, &right = product.right;
  if (left.transposed) refuse("left", "expected rows along the sum, got a transposed view");
  if (left.width != right.width)
    refuse("right", "expected " + std::to_string(left.width) + " elements along the sum, as left has, got " +
                        std::to_string(right.width));
  if (right.gates.bits) refuse("right", "expected no gates");
  check_rows("left", left.data, left.width, left.stride);
  check_rows("right", right.data, right.transposed ? right.rows : right.width, right.stride);
  check_rows("out", static_cast<const T*>(product.out), right.rows, product.out_stride);
  if (product.lists && product.block_out < right.rows) check_block("block_out", product.block_out);
  if (!left.gates.bits) return;
  check_block("block_left", product.block_left);
  if (!aligned(left.gates.bits, 4) || left.gates.stride % 4)
    refuse("left", "expected rows of bits at multiples of 4 bytes");
}

template <class T>
Arithmetic block_arithmetic(Precision precision, std::int64_t width) {
  if (std::is_same_v<T, double>) return Arithmetic::f64;
  if (sizeof(T) == 2) return Arithmetic::bf16;
  const Arithmetic arithmetic = arithmetic_of(precision, width);
  if (arithmetic == Arithmetic::fma)
    refuse("precision", precision == Precision::strict ? "products of blocks are made by tf32x3 or tf32, not strict"
                                                       : "tf32x3 takes sums of " + std::to_string(min_tf32x3_width) +
                                                             " products at least, got " + std::to_string(width));
  return arithmetic;
}

template <int configuration, Layout right, class T>
void start(const BlockArguments<T>& arguments, const Device& device) {
  constexpr TileConfiguration tile = block_matmul_table[configuration];
  check_shared_bytes("block_matmul", block_matmul_shared_bytes(tile), device);
  const std::int64_t down = tiles_of(arguments.n, tile.rows), across = tiles_of(arguments.columns, tile.columns);
  const Grid grid{dim3(static_cast<unsigned>(kernel_size(down * across, "out"))), tile.threads(),
                  block_matmul_shared_bytes(tile), device.stream};
  launch(block_matmul_kernel<configuration, right>, "block_matmul", grid, arguments, static_cast<int>(down),
         static_cast<int>(across));
}

// Starts the kernel of `configuration`, one of those of T.
template <Layout right, class T, int index = 0>
void start_configuration(int configuration, const BlockArguments<T>& arguments, const Device& device) {
  if constexpr (index < block_matmul_configurations) {
    if constexpr (std::is_same_v<typename BlockTile<index, right>::Element, T>)
      if (index == configuration) return start<index, right>(arguments, device);
    start_configuration<right, T, index + 1>(configuration, arguments, device);
  }
}

template <class T>
void block_matmul(const BlockMatmul<T>& product, Precision precision, const Device& device, int configuration) {
  const RowsView<T>&left = product.left, &right = product.right;
  if (!left.rows || !right.rows) return;
  check_product(product);
  const std::int64_t unit = product.lists ? product.block_out : right.rows;  // without lists all columns are one
  const Arithmetic arithmetic =
      block_arithmetic<T>(precision, configuration < 0 && left.width ? left.width : min_tf32x3_width);
  if (configuration < 0)
    configuration = choose_block_matmul(arithmetic, device, left.rows, right.rows, unit);
  else
    check_configuration(block_matmul_table, configuration, arithmetic);
  if (!fits_units(block_matmul_table[configuration], right.rows, unit))
    refuse("configuration", std::string(block_matmul_table[configuration].name) + " has " +
                                std::to_string(block_matmul_table[configuration].columns) +
                                " columns, which do not divide block_out = " + std::to_string(unit));
  const BlockArguments<T> arguments{left.data,
                                    right.data,
                                    product.out,
                                    product.out_stride,
                                    chunks_apart<T>("left", left.rows, left.stride),
                                    chunks_apart<T>("right", right.transposed ? right.width : right.rows, right.stride),
                                    kernel_size(left.rows, "left"),
                                    kernel_size(right.rows, "right"),
                                    kernel_size(left.width, "left"),
                                    product.lists,
                                    kernel_size(unit, "block_out"),
                                    reinterpret_cast<const unsigned*>(left.gates.bits),
                                    left.gates.stride / 4,
                                    left.gates.bits ? kernel_size(product.block_left, "block_left")
                                                    : kernel_size(left.width ? left.width : 1, "left")};
  if (right.transposed)
    start_configuration<Layout::k_outer>(configuration, arguments, device);
  else
    start_configuration<Layout::k_inner>(configuration, arguments, device);
}

}  // namespace gatentk::cuda
