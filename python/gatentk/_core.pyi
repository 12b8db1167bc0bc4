"""Compiled kernels. Matrices are (address, rows, width, stride, (gate address or 0, gate row bytes), transposed)."""

from __future__ import annotations

from typing import ClassVar

Gates = tuple[int, int]
View = tuple[int, int, int, int, Gates, bool]
Term = tuple[View, View, View, View, float]
# (address, rows, width, block, unit stride, row stride, whether there is room for a whole last block, unit-major gates)
Blocks = tuple[int, int, int, int, int, int, bool, Gates]

openmp: bool
group_rows: int
block_columns: int
plan_bytes: int

class Quantity:
    """What `infinite_ntk` computes, by name; csrc/include/gatentk/quantities.hpp says which there are."""

    __members__: ClassVar[dict[str, Quantity]]
    @property
    def value(self) -> int: ...

def gram_f32(
    rows: int, columns: int, symmetric: bool, terms: list[Term], out: int, out_stride: int, threads: int, /
) -> None: ...
def gram_f64(
    rows: int, columns: int, symmetric: bool, terms: list[Term], out: int, out_stride: int, threads: int, /
) -> None: ...
def infinite_ntk_f32(
    quantity: Quantity,
    depths: list[int],
    symmetric: bool,
    x: View,
    z: View,
    out: int,
    out_slice: int,
    out_stride: int,
    network: tuple[float, float, float, float],
    threads: int,
    /,
) -> None: ...
def infinite_ntk_f64(
    quantity: Quantity,
    depths: list[int],
    symmetric: bool,
    x: View,
    z: View,
    out: int,
    out_slice: int,
    out_stride: int,
    network: tuple[float, float, float, float],
    threads: int,
    /,
) -> None: ...
def pack_bits(
    mask: int, mask_stride: int, rows: int, width: int, bits: int, row_bytes: int, threads: int, /
) -> None: ...
def unpack_bits(bits: int, bits_stride: int, rows: int, width: int, mask: int, threads: int, /) -> None: ...
def checksum(data: int, size: int, before: int, threads: int, /) -> int: ...
def forked() -> bool: ...
def isa() -> str: ...
def available_isas() -> list[str]: ...
def select_isa(name: str, /) -> None: ...
def fma_peak_f32(threads: int, /) -> float: ...
def fma_peak_f64(threads: int, /) -> float: ...
def count_bits(bits: Gates, rows: int, row_bytes: int, /) -> int: ...
def count_blocks_on_f32(values: int, stride: int, rows: int, blocks: int, block: int, /) -> int: ...
def count_blocks_on_f64(values: int, stride: int, rows: int, blocks: int, block: int, /) -> int: ...
def advise_huge_pages(address: int, size: int, /) -> None: ...
def transpose_bits(
    bits: int, bits_stride: int, rows: int, width: int, out: int, out_bytes: int, threads: int, /
) -> None: ...
def masked_matmul_f32(
    left: View, plan: int, columns: View, out: int, out_stride: int, gates: Gates, threads: int, /
) -> None: ...
def masked_matmul_f64(
    left: View, plan: int, columns: View, out: int, out_stride: int, gates: Gates, threads: int, /
) -> None: ...
def ordered_linear_f32(x: View, weight: View, relu: bool, out: int, out_stride: int, threads: int, /) -> None: ...
def ordered_linear_f64(x: View, weight: View, relu: bool, out: int, out_stride: int, threads: int, /) -> None: ...
def block_product_f32(
    z: Blocks, weight: int, weight_stride: int, transposed: bool, out: Blocks, threads: int, /
) -> None: ...
def block_product_f64(
    z: Blocks, weight: int, weight_stride: int, transposed: bool, out: Blocks, threads: int, /
) -> None: ...
def block_weight_gradient_f32(left: Blocks, right: Blocks, out: int, out_stride: int, threads: int, /) -> None: ...
def block_weight_gradient_f64(left: Blocks, right: Blocks, out: int, out_stride: int, threads: int, /) -> None: ...
def copy_blocks_f32(source: Blocks, target: Blocks, threads: int, /) -> None: ...
def copy_blocks_f64(source: Blocks, target: Blocks, threads: int, /) -> None: ...
def gate_rows_f32(
    values: int,
    values_stride: int,
    rows: int,
    width: int,
    block: int,
    gates: Gates,
    out: int,
    out_stride: int,
    threads: int,
    /,
) -> None: ...
def gate_rows_f64(
    values: int,
    values_stride: int,
    rows: int,
    width: int,
    block: int,
    gates: Gates,
    out: int,
    out_stride: int,
    threads: int,
    /,
) -> None: ...
def expand_bits(bits: Gates, rows: int, width: int, block: int, out: int, out_bytes: int, threads: int, /) -> None: ...
def add_gated_bias_f32(
    out: int, out_stride: int, rows: int, width: int, block: int, gates: Gates, bias: int, threads: int, /
) -> None: ...
def add_gated_bias_f64(
    out: int, out_stride: int, rows: int, width: int, block: int, gates: Gates, bias: int, threads: int, /
) -> None: ...
def gated_sums_f32(
    values: int, values_stride: int, rows: int, width: int, block: int, gates: Gates, out: int, threads: int, /
) -> None: ...
def gated_sums_f64(
    values: int, values_stride: int, rows: int, width: int, block: int, gates: Gates, out: int, threads: int, /
) -> None: ...
def build_plan(gates: Gates, transposed: bool, rows: int, columns: int, plan: int, threads: int, /) -> None: ...
def gate_gram(
    rows: Gates,
    row_count: int,
    columns: Gates,
    column_count: int,
    row_bytes: int,
    symmetric: bool,
    out: int,
    threads: int,
    /,
) -> None: ...
