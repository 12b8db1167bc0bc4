"""The operations for CUDA tensors, side by side; loads the compiled CUDA module at the first one.

Kernels run on torch's current stream of the tensors' device. Results and workspaces come from torch's allocator, and
nothing here waits for the device or copies to or from it, so that all operations can be captured in a CUDA graph (as
with torch's own, after a first call that loads the kernels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from gatentk._core import Quantity
from gatentk.checks import describe
from gatentk.errors import CudaMissingError
from gatentk.ops.arguments import check_bit_matrix
from gatentk.ops.layouts import (
    GramProblem,
    InfiniteProblem,
    block_lists,
    contiguous_rows,
    counts,
    gate_view,
    ordered_product,
    packed,
    transposed,
    unpacked,
    view,
)
from gatentk.ops.precision import PRECISIONS, precision

if TYPE_CHECKING:
    from gatentk._cuda import Device

Launch = Callable[[Tensor], AbstractContextManager["Device"]]

INSTALL = "pip install . --config-settings=cmake.define.GATENTK_CUDA=ON"

_SUFFIXES = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}


class CudaKernels:
    """The operations with the argument lists that torch registers them with.

    Args:
        core: the compiled module.
        launch: makes a tensor's device the current one and says how the module knows it.
        precision: the name in `PRECISIONS` that products of float32 numbers are made with.
        quantities: names of what `infinite_ntk` and `infinite_network` compute, in the order of the compiled module.
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
        bits = packed(mask)
        if bits.numel():
            with self._launch(mask) as device:
                self.core.pack_bits(rows.data_ptr(), rows.stride(0), n, width, bits.data_ptr(), bits.shape[-1], device)
        return bits

    def unpack_bits(self, bits: Tensor, width: int) -> Tensor:
        """See `gatentk.ops.unpack_bits`."""
        mask = unpacked(bits, width)
        if mask.numel():
            rows = _aligned(bits.reshape(-1, bits.shape[-1]))
            with self._launch(bits) as device:
                self.core.unpack_bits(rows.data_ptr(), rows.stride(0), rows.shape[0], width, mask.data_ptr(), device)
        return mask

    def transpose_bits(self, bits: Tensor, width: int) -> Tensor:
        """See `gatentk.ops.transpose_bits`."""
        rows, out = _aligned(bits), transposed(bits, width)
        if out.numel():
            with self._launch(bits) as device:
                self.core.transpose_bits(
                    rows.data_ptr(), rows.stride(0), rows.shape[0], width, out.data_ptr(), out.shape[1], device
                )
        return out

    def gate_rows(self, values: Tensor, bits: Tensor, block: int, out: Tensor) -> Tensor:
        """What `gatentk.ops.gate_rows` gives, written to `out`: contiguous, and perhaps `values` themselves."""
        if out.numel():
            width = values.shape[-1]
            run = getattr(self.core, f"gate_rows_{_SUFFIXES[out.dtype]}")
            rows, gates = contiguous_rows(values.reshape(-1, width)), _aligned(bits.reshape(-1, bits.shape[-1]))
            with self._launch(values) as device:
                run(
                    rows.data_ptr(),
                    rows.stride(0),
                    rows.shape[0],
                    width,
                    block,
                    gate_view(gates),
                    out.data_ptr(),
                    width,
                    device,
                )
        return out

    def block_lists(self, unit_major: Tensor, n: int) -> Tensor:
        """For each unit of unit-major bits how many of n samples are on, then these, then the others, both rising."""
        check_bit_matrix("unit_major", unit_major, n)
        out = block_lists(unit_major, n)
        if not n:
            return out.zero_()
        if out.numel():
            rows = _aligned(unit_major)
            with self._launch(rows) as device:
                self.core.block_lists(gate_view(rows), rows.shape[0], n, out.data_ptr(), device)
        return out

    def block_matmul(
        self,
        left: Tensor,
        right: Tensor,
        transposed: bool,
        gate: Tensor | None,
        block_left: int,
        lists: Tensor | None,
        block_out: int,
    ) -> Tensor:
        """`left @ right.T` where blocks of the result are on, exact zeros elsewhere.

        Args:
            left: (n, k); where its gates are off it counts as zeros.
            right: (columns, k), or (k, columns) if it is transposed.
            gate: sample-major bits of blocks of `block_left` columns of left, or None.
            lists: those of `block_lists` for blocks of `block_out` columns of the result, or None where all is on.
        """
        columns, depth = right.shape[::-1] if transposed else right.shape
        _check_factors(left, right, (left.shape[0], depth), left.shape)
        out = left.new_empty(left.shape[0], columns)
        if not out.numel() or not depth:
            return out.zero_()
        run = getattr(self.core, f"block_matmul_{_SUFFIXES[out.dtype]}")
        left, right = _aligned(left), _aligned(right)
        bits = None if gate is None else _aligned(gate)
        with self._launch(out) as device:
            run(
                view(left, bits),
                view(right, None, transposed),
                out.data_ptr(),
                out.stride(0),
                0 if lists is None else lists.data_ptr(),
                columns if lists is None else block_out,
                0 if bits is None else block_left,
                PRECISIONS.index(self._precision()),
                device,
            )
        return out

    def block_weight_gradient(
        self,
        left: Tensor,
        right: Tensor,
        units_left: Tensor | None,
        units_right: Tensor | None,
        blocks: tuple[int, int],
    ) -> Tensor:
        """`left.T @ right`, for a pair of blocks over the samples that are on in both.

        Args:
            left, right: (n, rows) and (n, columns).
            units_left, units_right: unit-major bits of blocks of their columns, or None where all is on.
            blocks: neighbouring columns of left and of right that share a gate.
        """
        _check_factors(left, right, left.shape[:1], right.shape[:1])
        out = left.new_empty(left.shape[1], right.shape[1])
        if not out.numel() or not left.shape[0]:
            return out.zero_()
        run = getattr(self.core, f"block_weight_gradient_{_SUFFIXES[out.dtype]}")
        left, right = _aligned(left), _aligned(right)
        bits_left, bits_right = (None if bits is None else _aligned(bits) for bits in (units_left, units_right))
        with self._launch(out) as device:
            run(
                view(left, None, True),
                view(right, None, True),
                out.data_ptr(),
                out.stride(0),
                gate_view(bits_left),
                blocks[0] if bits_left is not None else 0,
                gate_view(bits_right),
                blocks[1] if bits_right is not None else 0,
                PRECISIONS.index(self._precision()),
                device,
            )
        return out

    def arithmetic(self, dtype: torch.dtype) -> str:
        """How numbers of a dtype are multiplied: "f64", "bf16", or for float32 the precision that is in use."""
        return self._precision() if dtype == torch.float32 else _SUFFIXES[dtype]

    def architecture(self, tensor: Tensor) -> int:
        """Of a tensor's device: 80, 90, ..."""
        with self._launch(tensor) as device:
            return device[0]

    def ordered_linear(self, x: Tensor, weight: Tensor, relu: bool) -> Tensor:
        """See `gatentk.ops.ordered_linear`."""
        out = ordered_product(x, weight)
        if out.numel():
            run = getattr(self.core, f"ordered_linear_{_SUFFIXES[x.dtype]}")
            x, weight = _in_chunks(x), _in_chunks(weight)
            with self._launch(x) as device:
                run(view(x), view(weight), relu, out.data_ptr(), out.stride(0), device)
        return out

    def gram_ntk(self, *arguments: Any) -> Tensor:
        """See `gatentk.ops.gram_ntk`."""
        problem = GramProblem(*arguments)
        out = problem.result()
        if not out.numel():
            return out
        run = getattr(self.core, f"gram_{_SUFFIXES[out.dtype]}")
        dense = self._without_gates(problem)
        precision = PRECISIONS.index(self._precision())
        n, n_b = out.shape[-2:]
        with self._launch(out) as device:
            for terms, matrix in dense.members(out):
                run(n, n_b, problem.symmetric, terms, matrix.data_ptr(), n_b, precision, device)
        return out

    def _without_gates(self, problem: GramProblem) -> GramProblem:
        """The same with masked copies of what gates mask: a kernel reads every row as often as there are tiles."""

        def dense(factors: list[Tensor], gates: list[Tensor | None]) -> list[Tensor]:
            masked = (
                factor if bits is None else self.gate_rows(factor, bits, 1, factor.new_empty(factor.shape))
                for factor, bits in zip(factors, gates, strict=True)
            )
            return [_in_chunks(factor) for factor in masked]

        none: list[Tensor | None] = [None] * len(problem.acts)
        right = none[: len(problem.acts_b)]
        return problem._replace(
            acts=dense(problem.acts, problem.gates_act),
            deltas=dense(problem.deltas, problem.gates_delta),
            acts_b=dense(problem.acts_b, right),
            deltas_b=dense(problem.deltas_b, right),
            gates_act=none,
            gates_delta=none,
        )

    def infinite_ntk(self, x: Tensor, z: Tensor | None, depths: list[int], quantity: str) -> Tensor:
        """See `gatentk.ops.infinite_ntk`."""
        return self._infinite("infinite_ntk", "infinite_workspace", InfiniteProblem(x, z, depths, quantity))

    def infinite_network(
        self, x: Tensor, z: Tensor | None, depths: list[int], quantity: str, network: Sequence[float]
    ) -> Tensor:
        """See `gatentk.ops.infinite_network`; network: slope, first, weight, bias."""
        problem = InfiniteProblem(x, z, depths, quantity)
        return self._infinite("infinite_network", "infinite_network_workspace", problem, list(network))

    def _infinite(self, name: str, workspace: str, samples: InfiniteProblem, *network: list[float]) -> Tensor:
        """The result of a function of the compiled module, in memory whose size another one knows."""
        out = samples.result()
        if not out.numel():
            return out
        x, z, depths, quantity = samples
        number = self._quantities.index(quantity)
        run, size = (getattr(self.core, f"{what}_{_SUFFIXES[x.dtype]}") for what in (name, workspace))
        with self._launch(x) as device:
            for rows, columns, matrices in samples.members(out):
                problem = number, depths, z is None, *network, rows, columns
                memory = x.new_empty(size(*problem))
                run(*problem, matrices.data_ptr(), matrices.stride(0), matrices.stride(1), memory.data_ptr(), device)
        return out

    def gate_gram(self, bits_a: Tensor, bits_b: Tensor | None) -> Tensor:
        """See `gatentk.ops.gate_gram`."""
        left = _aligned(bits_a)
        right = left if bits_b is None else _aligned(bits_b)
        out = counts(bits_a, bits_b)
        if out.numel():
            with self._launch(left) as device:
                self.core.gate_gram(
                    gate_view(left),
                    left.shape[0],
                    gate_view(right),
                    right.shape[0],
                    left.shape[1],
                    bits_b is None,
                    out.data_ptr(),
                    device,
                )
        return out


def _aligned(matrix: Tensor) -> Tensor:
    """The same bits or values in rows that start at multiples of 16 bytes; copies only if they do not."""
    rows = contiguous_rows(matrix)
    if rows.data_ptr() % 16 or any(stride * rows.element_size() % 16 for stride in rows.stride()[:-1]):
        rows = rows.clone(memory_format=torch.contiguous_format)
    return rows


def _in_chunks(matrix: Tensor) -> Tensor:
    """The same rows where kernels can copy them in pieces of 16 bytes: they start at multiples of 16 bytes, and zeros
    follow up to the next one. Copies only if they do not.
    """
    rows = contiguous_rows(matrix)
    size, width = rows.element_size(), rows.shape[-1]
    missing = -width % (16 // size)
    starts = rows.data_ptr(), *(stride * size for stride in rows.stride()[:-1])
    if width == 0 or (missing == 0 and all(start % 16 == 0 for start in starts)):
        return rows
    return pad(rows, (0, missing))[..., :width]


def _check_factors(left: Tensor, right: Tensor, expected: Sequence[int], came: Sequence[int]) -> None:
    """Refuse factors that do not fit each other: kernels would read beyond one of them."""
    if tuple(came) != tuple(expected) or right.dtype != left.dtype:
        raise ValueError(f"b: expected {left.dtype} and a shape that fits {describe(left)}, got {describe(right)}")


def serves(tensor: Tensor) -> bool:
    """Whether operations on a tensor run here. What runs kernels for CUDA elsewhere says so in the place of this."""
    return tensor.is_cuda


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
def _properties(index: int) -> tuple[int, int, int]:
    """Architecture, multiprocessors and shared memory that a block may ask for, in bytes, of a device."""
    properties = torch.cuda.get_device_properties(index)
    architecture = 10 * properties.major + properties.minor
    return architecture, properties.multi_processor_count, compiled().shared_bytes_of(index)


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
    architecture, multiprocessors, _ = _properties(index)
    name = torch.cuda.get_device_name(index)
    return f"cuda:{index} {name} (sm_{architecture}, {multiprocessors} multiprocessors)"
