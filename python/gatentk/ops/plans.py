"""Plans: what masked products want to know of gates, made once for all products.

On the CPU the order in which neurons that are on are visited; of blocks of neurons their unit-major bits, and on CUDA
devices the lists of samples too.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from gatentk import _core
from gatentk.checks import check_block, describe
from gatentk.ops import cuda, layouts
from gatentk.ops.arguments import check_bit_matrix
from gatentk.ops.bits import transpose_bits
from gatentk.ops.layouts import contiguous_rows, gate_view, row_bytes, units
from gatentk.ops.registration import register


class GateRows(Protocol):
    """Packed gates of a batch of samples with their plans, as a `GateLayer` has them."""

    @property
    def bits(self) -> Tensor:
        """uint8, (n, row_bytes(width))."""

    @property
    def plans(self) -> tuple[Tensor, ...]:
        """What `build_plan` makes of the bits, sample-major and neuron-major; of blocks their bits, unit-major.

        On a CUDA device nobody asks for those of single neurons, or of others than a `GateLayer`.
        """


class GateLayer:
    """Packed gates of one layer, with what the masked products want to know of them.

    Attributes:
        bits: uint8, (n, row_bytes(units)).
        n, width: samples and neurons.
        block: neighbouring neurons that share a gate.
        units: gates of a sample, `ceil(width / block)`.

    Raises:
        TypeError, ValueError: a block that is no integer from 1 to the width.
    """

    def __init__(self, bits: Tensor, width: int, block: int = 1) -> None:
        self.bits = bits
        self.n = bits.shape[0]
        self.width = width
        self.block = check_block(block, width)
        self.units = units(width, self.block)
        self._plans: tuple[Tensor, ...] | None = None
        self._state: list[int | None] = []

    @property
    def plans(self) -> tuple[Tensor, ...]:
        """Made at first use: the sample-major and the neuron-major plan of `build_plan`, not on CUDA devices.

        Of blocks of several neurons their bits, unit-major, as `transpose_bits` has them; on CUDA devices then, for
        each of these rows, how many samples are on, those samples and the others, int32 (units, n + 1).
        """
        plans, tracing, captured = self._plans, torch.compiler.is_compiling(), _is_captured(self.bits)
        # In a trace tensors have no versions.
        if plans is None or captured or not (tracing or self._state == _state(self.bits, plans)):
            with torch.inference_mode(False):  # a later training step saves them for its gradient
                plans = self._made_plans()
            if not tracing:
                plans = tuple(map(_unwrapped, plans))
            if not captured:
                self._plans = plans
                self._state = [] if tracing else _state(self.bits, plans)
        return plans

    def _made_plans(self) -> tuple[Tensor, ...]:
        if self.block > 1:
            unit_major = transpose_bits(self.bits, self.units)
            return (unit_major, block_lists(unit_major, self.n)) if cuda.serves(self.bits) else (unit_major,)
        return build_plan(self.bits, self.width), build_plan(self.bits, self.width, neuron_major=True)

    def __repr__(self) -> str:
        blocks = "" if self.block == 1 else f", block={self.block}"
        return f"GateLayer(n={self.n}, width={self.width}{blocks})"


def _unwrapped(plan: Tensor) -> Tensor:
    """What stays when transforms of torch.func are over that it was made in: they wrap results, whole numbers too."""
    functorch: Any = torch._C._functorch
    while functorch.is_gradtrackingtensor(plan):
        plan = functorch.get_unwrapped(plan)
    return plan


def _has_stream(bits: Tensor) -> bool:
    """Whether they lie on a CUDA device, and not in a trace."""
    return not torch.compiler.is_compiling() and bits.is_cuda and torch.cuda.is_initialized()


def _is_captured(bits: Tensor) -> bool:
    """Whether what is made of them now lies in a CUDA graph and holds no values before that runs."""
    return _has_stream(bits) and torch.cuda.is_current_stream_capturing()


def _stream(bits: Tensor) -> int:
    """What tells apart the streams that plans of the bits may be made on."""
    return int(torch.cuda.current_stream(bits.device).cuda_stream) if _has_stream(bits) else 0


def _state(bits: Tensor, plans: Sequence[Tensor]) -> list[int | None]:
    """With which plans of the bits still hold, and may be read without waiting."""
    return [_stream(bits), *_versions((bits, *plans))]


def block_of(gate: GateRows) -> int:
    """Neighbouring neurons that share a gate; 1 for those of others that do not say it."""
    return gate.block if isinstance(gate, GateLayer) else int(getattr(gate, "block", 1))


def _versions(plans: Sequence[Tensor]) -> list[int | None]:
    """How often they were written to; not known of tensors that were made in inference mode."""
    return [None if plan.is_inference() else plan._version for plan in plans]


def checked_plans(gate: GateRows, name: str, width: int, block: int = 1) -> tuple[Tensor, ...]:
    """Plans of gates that somebody else may have made.

    Raises:
        ValueError: they are not what is made of the bits; the message names the argument `name`.
    """
    # Plans of blocks are made of their number, whatever the width of the last one.
    if isinstance(gate, GateLayer) and (gate.units, gate.block) == (units(width, block), block):
        return gate.plans  # which nobody else made
    plans, bits = gate.plans, gate.bits
    if bits.dim() != 2:
        raise ValueError(f"{name}: expected bits of shape (n, row bytes) with their plans, got {describe(bits)}")
    if len(plans) != (2 if block == 1 else 1):
        raise ValueError(f"{name}: expected {2 if block == 1 else 1} plans for blocks of {block}, got {len(plans)}")
    for plan, shape in zip(plans, _shapes(bits.shape[0], width, block), strict=True):
        _check_plan(name, plan, shape)
    # Not in a trace: it has no values. Kernels refuse plans that lead out of their memory in any case.
    if isinstance(gate, GateLayer) or torch.compiler.is_compiling():
        return plans
    for plan, neuron_major in zip(plans, (False, True), strict=False):
        state = width, block, bits.data_ptr(), tuple(bits.shape), *_versions((bits, plan))
        if _checked.get(plan) != state or None in state:
            made = build_plan(bits, width, neuron_major) if block == 1 else transpose_bits(bits, units(width, block))
            if not torch.equal(plan, made):
                raise ValueError(f"{name}: expected plans of its bits as they are made of them, got other bytes")
            _checked[plan] = state
    return plans


def _shapes(n: int, width: int, block: int) -> list[tuple[int, ...]]:
    if block > 1:
        return [(units(width, block), row_bytes(n))]
    return [plan_shape(n, width, neuron_major) for neuron_major in (False, True)]


# Plans that were compared with their bits, and which these were.
_checked: MutableMapping[Tensor, tuple[object, ...]] = WeakIdKeyDictionary()


def build_plan(bits: Tensor, width: int, neuron_major: bool = False) -> Tensor:
    """The order in which a masked product visits the neurons that are on.

    Args:
        bits: (n, row_bytes(width)) packed gates.
        width: neurons.
        neuron_major: groups are four neurons and the product runs over samples, as in the weight gradient;
            otherwise four samples and over neurons.

    Returns:
        uint8 (groups, blocks, plan bytes); its size depends on n and width only.

    Raises:
        TypeError, ValueError: bits that do not fit the width, or on a CUDA device, where products need no plan.

    >>> from gatentk.ops import pack_bits
    >>> bits = pack_bits(torch.ones(10, 300, dtype=torch.bool))
    >>> build_plan(bits, 300).shape[:2], build_plan(bits, 300, neuron_major=True).shape[:2]
    (torch.Size([3, 2]), torch.Size([75, 1]))
    """
    check_bit_matrix("bits", bits, width)
    if bits.is_cuda:
        raise ValueError(
            f"bits: masked products on {bits.device} need no plan, they read the bits; pass the bits as gates"
        )
    result: Tensor = torch.ops.gatentk.build_plan(bits, width, neuron_major)
    return result


def plan_shape(n: int, width: int, neuron_major: bool) -> tuple[int, int, int]:
    """Shape of the plan of n samples of `width` neurons."""
    rows, columns = (width, n) if neuron_major else (n, width)
    return -(-rows // _core.group_rows), -(-columns // _core.block_columns), _core.plan_bytes


def plan_address(gate: Sequence[Tensor], matrix: Tensor, neuron_major: bool) -> int:
    """Where the plan of the gates of a matrix (n, width) lies, 0 if they come without plans."""
    if len(gate) < 3:
        return 0
    plan, (n, width) = gate[2 if neuron_major else 1], matrix.shape
    _check_plan("plans", plan, plan_shape(n, width, neuron_major))
    return plan.data_ptr()


def _check_plan(name: str, plan: Tensor, expected: tuple[int, ...]) -> None:
    if plan.dtype != torch.uint8 or plan.shape != expected or not plan.is_contiguous():
        raise ValueError(f"{name}: expected plans of its bits as build_plan makes them, got {describe(plan)}")


def block_lists(unit_major: Tensor, n: int) -> Tensor:
    """Lists of samples of each unit on a CUDA device, see `GateLayer.plans`; nothing on the CPU reads any."""
    result: Tensor = torch.ops.gatentk.block_lists(unit_major, n)
    return result


def _build_on_cpu(bits: Tensor, width: int, neuron_major: bool) -> Tensor:
    plan = _plan(bits, width, neuron_major)
    rows, columns = (width, bits.shape[0]) if neuron_major else (bits.shape[0], width)
    stored = contiguous_rows(bits)
    _core.build_plan(gate_view(stored), neuron_major, rows, columns, plan.data_ptr(), torch.get_num_threads())
    return plan


def _plan(bits: Tensor, width: int, neuron_major: bool) -> Tensor:
    return bits.new_empty(plan_shape(bits.shape[0], width, neuron_major))


register("build_plan(Tensor bits, int width, bool neuron_major) -> Tensor", cpu=_build_on_cpu, cuda=None, fake=_plan)
register(
    "block_lists(Tensor unit_major, int n) -> Tensor",
    cpu=None,
    cuda=cuda.on_cuda("block_lists"),
    fake=layouts.block_lists,
)
