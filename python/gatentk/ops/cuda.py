"""The operations for CUDA tensors, side by side; loads the compiled CUDA module at the first one.

Kernels run on torch's current stream of the tensors' device. Results and workspaces come from torch's allocator, and
nothing here waits for the device or copies to or from it, so that all operations can be captured in a CUDA graph (as
with torch's own, after a first call that loads the kernels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gatentk._core import Quantity
from gatentk.errors import CudaMissingError
from gatentk.ops.layouts import (
    GramProblem,
    InfiniteProblem,
    MaskedProduct,
    contiguous_rows,
    gates,
    row_bytes,
    view,
)

if TYPE_CHECKING:
    from gatentk._cuda import Device

Launch = Callable[[Tensor], AbstractContextManager["Device"]]

INSTALL = "pip install . --config-settings=cmake.define.GATENTK_CUDA=ON"

_SUFFIXES = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}

# How products of float32 numbers are made, in the order of the compiled module.
PRECISIONS = ("strict", "tf32x3", "tf32")


class CudaKernels:
    """The operations with the argument lists that torch registers them with.

    Args:
        core: the compiled module.
        launch: makes a tensor's device the current one and says how the module knows it.
        precision: the name in `PRECISIONS` that products of float32 numbers are made with.
        quantities: names of what `infinite_ntk` computes, in the order of the compiled module.
    """

    def __init__(
        self, core: ModuleType, launch: Launch, precision: Callable[[], str], quantities: tuple[str, ...]
    ) -> None:
        self.core = core
        self._launch = launch
        self._precision = precision
        self._quantities = quantities

    def pack_bits(self, mask: Tensor) -> Tensor:
        """See `gatentk.ops.pack_bits`."""
        rows = contiguous_rows(mask.reshape(mask.shape[:-1].numel(), mask.shape[-1]))
        n, width = rows.shape
        bits = mask.new_empty((*mask.shape[:-1], row_bytes(width)), dtype=torch.uint8)
        if bits.numel():
            with self._launch(mask) as device:
                self.core.pack_bits(rows.data_ptr(), rows.stride(0), n, width, bits.data_ptr(), bits.shape[-1], device)
        return bits

    def unpack_bits(self, bits: Tensor, width: int) -> Tensor:
        """See `gatentk.ops.unpack_bits`."""
        mask = bits.new_empty((*bits.shape[:-1], width), dtype=torch.bool)
        if mask.numel():
            rows = _aligned(bits.reshape(-1, bits.shape[-1]))
            with self._launch(bits) as device:
                self.core.unpack_bits(rows.data_ptr(), rows.stride(0), rows.shape[0], width, mask.data_ptr(), device)
        return mask

    def transpose_bits(self, bits: Tensor, width: int) -> Tensor:
        """See `gatentk.ops.transpose_bits`."""
        rows = _aligned(bits)
        out = bits.new_empty(width, row_bytes(bits.shape[0]))
        if out.numel():
            with self._launch(bits) as device:
                self.core.transpose_bits(
                    rows.data_ptr(), rows.stride(0), rows.shape[0], width, out.data_ptr(), out.shape[1], device
                )
        return out

    def masked_matmul(self, *arguments: Any) -> Tensor:
        """The product whose factors and result are masked where they have gates; plans are not used."""
        product = MaskedProduct(*arguments)
        out = product.a.new_empty(product.shape)
        if not out.numel():
            return out
        run = getattr(self.core, f"masked_matmul_{_SUFFIXES[out.dtype]}")
        a, b = contiguous_rows(product.a), contiguous_rows(product.b)
        bits_a, bits_b, bits_out = (None if bits is None else _aligned(bits) for bits in product.bits)
        with self._launch(a) as device:
            run(
                view(a, bits_a, product.transpose_a),
                view(b, bits_b, not product.transpose_b),
                out.data_ptr(),
                out.stride(0),
                gates(bits_out),
                PRECISIONS.index(self._precision()),
                device,
            )
        return out

    def ordered_linear(self, x: Tensor, weight: Tensor, relu: bool) -> Tensor:
        """See `gatentk.ops.ordered_linear`."""
        out = x.new_empty(x.shape[0], weight.shape[0])
        if out.numel():
            run = getattr(self.core, f"ordered_linear_{_SUFFIXES[x.dtype]}")
            x, weight = contiguous_rows(x), contiguous_rows(weight)
            with self._launch(x) as device:
                run(view(x), view(weight), relu, out.data_ptr(), out.stride(0), device)
        return out

    def gram_ntk(self, *arguments: Any) -> Tensor:
        """See `gatentk.ops.gram_ntk`."""
        problem = GramProblem(*arguments)
        out = problem.acts[0].new_empty(problem.shape)
        if not out.numel():
            return out
        run = getattr(self.core, f"gram_{_SUFFIXES[out.dtype]}")
        gates_act, gates_delta = (
            [None if bits is None else _aligned(bits) for bits in side]
            for side in (problem.gates_act, problem.gates_delta)
        )
        aligned = problem._replace(gates_act=gates_act, gates_delta=gates_delta)
        precision = PRECISIONS.index(self._precision())
        n, n_b = out.shape[-2:]
        with self._launch(out) as device:
            for terms, matrix in aligned.members(out):
                run(n, n_b, problem.symmetric, terms, matrix.data_ptr(), n_b, precision, device)
        return out

    def infinite_ntk(self, x: Tensor, z: Tensor | None, depths: list[int], quantity: str) -> Tensor:
        """See `gatentk.ops.infinite_ntk`."""
        samples = InfiniteProblem(x, z, depths, quantity)
        out = x.new_empty(samples.shape)
        if not out.numel():
            return out
        suffix, number = _SUFFIXES[x.dtype], self._quantities.index(quantity)
        run, size = (getattr(self.core, f"infinite_{what}_{suffix}") for what in ("ntk", "workspace"))
        with self._launch(x) as device:
            for rows, columns, matrices in samples.members(out):
                problem = number, depths, z is None, rows, columns
                workspace = x.new_empty(size(*problem))
                run(
                    *problem,
                    matrices.data_ptr(),
                    matrices.stride(0),
                    matrices.stride(1),
                    workspace.data_ptr(),
                    device,
                )
        return out

    def gate_gram(self, bits_a: Tensor, bits_b: Tensor | None) -> Tensor:
        """See `gatentk.ops.gate_gram`."""
        left = _aligned(bits_a)
        right = left if bits_b is None else _aligned(bits_b)
        out = left.new_empty((left.shape[0], right.shape[0]), dtype=torch.int32)
        if out.numel():
            with self._launch(left) as device:
                self.core.gate_gram(
                    gates(left),
                    left.shape[0],
                    gates(right),
                    right.shape[0],
                    left.shape[1],
                    bits_b is None,
                    out.data_ptr(),
                    device,
                )
        return out


def _aligned(bits: Tensor) -> Tensor:
    """The same bits in rows that start at multiples of 16 bytes; copies only if they do not."""
    rows = contiguous_rows(bits)
    if rows.data_ptr() % 16 or any(stride % 16 for stride in rows.stride()[:-1]):
        rows = rows.clone(memory_format=torch.contiguous_format)
    return rows


# Precision of float32 products

# What "auto" takes where torch does not allow TF32: three TF32 products of the rounded numbers and their remainders,
# whose errors are within twice those of torch's float32 products (docs/cuda.md).
_ACCURATE = "tf32x3"

_selected = "auto"


def precision() -> str:
    """How float32 products of masked and Gram products are made on CUDA devices: "strict", "tf32x3" or "tf32"."""
    if _selected != "auto":
        return _selected
    return "tf32" if _torch_allows_tf32() else _ACCURATE


def select_precision(name: str) -> None:
    """Choose how float32 numbers are multiplied on CUDA devices, in the whole process.

    Args:
        name: "strict" uses fused multiply-adds in float32. "tf32x3" makes three products on tensor cores for each, as
            accurate as a float32 product, though an infinite factor gives NaN. "tf32" makes one, of factors rounded
            to 11 bits. "auto", the choice at the start, follows torch: "tf32" where `torch.backends.cuda.matmul`
            allows TF32, "tf32x3" elsewhere. Dense products are torch's own.

    Raises:
        ValueError: another name.
    """
    global _selected
    if name not in ("auto", *PRECISIONS):
        raise ValueError(f"name: expected one of 'auto', {', '.join(map(repr, PRECISIONS))}, got {name!r}")
    _selected = name


def _torch_allows_tf32() -> bool:
    matmul = torch.backends.cuda.matmul
    # Newer versions of torch have two settings, and reading the older one fails where the newer one was used.
    if hasattr(matmul, "fp32_precision"):
        return bool(matmul.fp32_precision == "tf32")
    return bool(matmul.allow_tf32)


# The compiled module and the device


@cache
def compiled() -> ModuleType:
    """The module with the CUDA kernels.

    Raises:
        CudaMissingError: this installation has none.
    """
    try:
        return import_module("gatentk._cuda")
    except ModuleNotFoundError as error:
        raise CudaMissingError(
            f"no CUDA kernels: gatentk was built without them; install it with nvcc on the PATH: {INSTALL}"
        ) from error
    except ImportError as error:
        raise CudaMissingError(f"no CUDA kernels: gatentk._cuda cannot be loaded: {error}") from error


@cache
def kernels() -> CudaKernels:
    """The operations on the CUDA devices of this machine; errors as `compiled`."""
    return CudaKernels(compiled(), _on_current_stream, precision, tuple(Quantity.__members__))


def on_cuda(name: str) -> Callable[..., Tensor]:
    """The operation `name` of `kernels`, which are loaded when it is called."""

    def run(*arguments: Any) -> Tensor:
        result: Tensor = getattr(kernels(), name)(*arguments)
        return result

    return run


@contextmanager
def _on_current_stream(tensor: Tensor) -> Iterator[Device]:
    with torch.cuda.device(tensor.device):
        yield (*_properties(tensor.device.index), torch.cuda.current_stream(tensor.device).cuda_stream)


@cache
def _properties(index: int) -> tuple[int, int]:
    """Architecture and multiprocessors of a device."""
    properties = torch.cuda.get_device_properties(index)
    return 10 * properties.major + properties.minor, properties.multi_processor_count


def description() -> str:
    """What was built and for which architectures, and the devices that torch sees, or what is missing."""
    try:
        built = f"kernels for {', '.join(f'sm_{number}' for number in compiled().architectures)}"
    except CudaMissingError as error:
        return str(error)
    if not torch.cuda.is_available():
        without = "torch is built without CUDA" if torch.version.cuda is None else "torch finds no device"
        return f"{built}; no device ({without})"
    return f"{built}; {', '.join(_device_name(index) for index in range(torch.cuda.device_count()))}"


def _device_name(index: int) -> str:
    architecture, multiprocessors = _properties(index)
    name = torch.cuda.get_device_name(index)
    return f"cuda:{index} {name} (sm_{architecture}, {multiprocessors} multiprocessors)"
