"""Compiled CUDA kernels. Addresses lie in the memory of the device; matrices are given as in `_core`."""

from gatentk._core import Gates, Term, View

Device = tuple[int, int, int, int]
"""Architecture (80, 90, 100, ..), multiprocessors, shared memory of a block in bytes, address of the stream."""

architectures: list[int]

def shared_bytes_of(index: int) -> int: ...
def block_lists(gates: Gates, units: int, n: int, out: int, device: Device) -> None: ...
def block_matmul_f32(
    left: View,
    right: View,
    out: int,
    out_stride: int,
    lists: int,
    block_out: int,
    block_left: int,
    precision: int,
    device: Device,
    configuration: int = -1,
) -> None: ...
def block_matmul_f64(
    left: View,
    right: View,
    out: int,
    out_stride: int,
    lists: int,
    block_out: int,
    block_left: int,
    precision: int,
    device: Device,
    configuration: int = -1,
) -> None: ...
def block_matmul_bf16(
    left: View,
    right: View,
    out: int,
    out_stride: int,
    lists: int,
    block_out: int,
    block_left: int,
    precision: int,
    device: Device,
    configuration: int = -1,
) -> None: ...
def ordered_linear_f32(x: View, weight: View, relu: bool, out: int, out_stride: int, device: Device) -> None: ...
def ordered_linear_f64(x: View, weight: View, relu: bool, out: int, out_stride: int, device: Device) -> None: ...
def gram_f32(
    rows: int,
    columns: int,
    symmetric: bool,
    terms: list[Term],
    out: int,
    out_stride: int,
    precision: int,
    device: Device,
    configuration: int = -1,
) -> None: ...
def gram_f64(
    rows: int,
    columns: int,
    symmetric: bool,
    terms: list[Term],
    out: int,
    out_stride: int,
    precision: int,
    device: Device,
    configuration: int = -1,
) -> None: ...
def infinite_network_workspace_f32(
    quantity: int, depths: list[int], symmetric: bool, network: list[float], x: View, z: View
) -> int: ...
def infinite_network_workspace_f64(
    quantity: int, depths: list[int], symmetric: bool, network: list[float], x: View, z: View
) -> int: ...
def infinite_network_f32(
    quantity: int,
    depths: list[int],
    symmetric: bool,
    network: list[float],
    x: View,
    z: View,
    out: int,
    out_slice: int,
    out_stride: int,
    workspace: int,
    device: Device,
    configuration: int = -1,
) -> None: ...
def infinite_network_f64(
    quantity: int,
    depths: list[int],
    symmetric: bool,
    network: list[float],
    x: View,
    z: View,
    out: int,
    out_slice: int,
    out_stride: int,
    workspace: int,
    device: Device,
    configuration: int = -1,
) -> None: ...
def infinite_workspace_f32(quantity: int, depths: list[int], symmetric: bool, x: View, z: View) -> int: ...
def infinite_workspace_f64(quantity: int, depths: list[int], symmetric: bool, x: View, z: View) -> int: ...
def infinite_ntk_f32(
    quantity: int,
    depths: list[int],
    symmetric: bool,
    x: View,
    z: View,
    out: int,
    out_slice: int,
    out_stride: int,
    workspace: int,
    device: Device,
    configuration: int = -1,
) -> None: ...
def infinite_ntk_f64(
    quantity: int,
    depths: list[int],
    symmetric: bool,
    x: View,
    z: View,
    out: int,
    out_slice: int,
    out_stride: int,
    workspace: int,
    device: Device,
    configuration: int = -1,
) -> None: ...
def gate_gram(
    rows: Gates,
    row_count: int,
    columns: Gates,
    column_count: int,
    row_bytes: int,
    symmetric: bool,
    out: int,
    device: Device,
    configuration: int = -1,
) -> None: ...
def pack_bits(
    mask: int, mask_stride: int, rows: int, width: int, bits: int, row_bytes: int, device: Device
) -> None: ...
def unpack_bits(bits: int, bits_stride: int, rows: int, width: int, mask: int, device: Device) -> None: ...
def transpose_bits(
    bits: int, bits_stride: int, rows: int, width: int, out: int, out_bytes: int, device: Device
) -> None: ...
def gate_rows_f32(
    values: int,
    values_stride: int,
    rows: int,
    width: int,
    block: int,
    gates: Gates,
    out: int,
    out_stride: int,
    device: Device,
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
    device: Device,
    /,
) -> None: ...
def gate_rows_bf16(
    values: int,
    values_stride: int,
    rows: int,
    width: int,
    block: int,
    gates: Gates,
    out: int,
    out_stride: int,
    device: Device,
    /,
) -> None: ...
