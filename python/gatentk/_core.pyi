"""Compiled kernels. Matrices are (address, rows, width, row stride, gate address or 0, gate row bytes)."""

from enum import Enum

View = tuple[int, int, int, int, int, int]
Term = tuple[View, View, View, View, float]

openmp: bool

class Quantity(Enum):
    relu = 0
    relu_components = 1
    relu_angle = 2
    grelu = 3
    grelu_angle = 4
    embedding_angle = 5

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
    threads: int,
    /,
) -> None: ...
def pack_bits(
    mask: int, mask_stride: int, rows: int, width: int, bits: int, row_bytes: int, threads: int, /
) -> None: ...
def unpack_bits(bits: int, bits_stride: int, rows: int, width: int, mask: int, threads: int, /) -> None: ...
def isa() -> str: ...
def available_isas() -> list[str]: ...
def select_isa(name: str, /) -> None: ...
def fma_peak_f32(threads: int, /) -> float: ...
def fma_peak_f64(threads: int, /) -> float: ...
