"""The NTK of a chain of stages, from the Gram matrices of its layers and of what flows back ([S], Sec. 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import describe
from gatentk.errors import UnsupportedModuleError
from gatentk.ntk.calls import as_not_compiled
from gatentk.ntk.outputs import chosen_outputs
from gatentk.ntk.stages import GateStage, LinearStage, Stage
from gatentk.ntk.uses import Use, group_kernel, own_kernel, pairs_kernel
from gatentk.ops.bits import expand_bits

# With fewer rows, packing the weight for a masked product costs more than skipping saves.
MASKED_ROWS = 64


def of_chain(
    net: nn.Module, stages: list[Stage], x: Tensor, z: Tensor | None, outputs: Any, components: bool
) -> Tensor:
    """The kernel of a chain of stages; arguments, result and errors as in `gatentk.ntk.empirical`."""
    left = _forward(stages, "x", x)
    _check_outputs(net, stages, x, left)
    right = None if z is None else _forward(stages, "z", z)
    chosen = chosen_outputs(outputs, left.d_out, x)
    if chosen.layout == "full":
        return _all_pairs(stages, left, right, components)
    rows = chosen.matrix(x)
    if chosen.layout == "diag":
        kernels = [_summed(stages, left, right, rows[p : p + 1], components) for p in range(left.d_out)]
        return torch.stack(kernels, dim=1 if components else 0)
    return _summed(stages, left, right, rows, components)


@dataclass
class Pass:
    """What one forward pass keeps.

    Attributes:
        inputs: of linear stages.
        slopes: derivatives of activations; by stage, none where they are 1 everywhere, and none where they are bits.
        bits: packed derivatives that are only 0 or 1.
        gates: those bits that are known before the activations: of gate stages.
        outputs: (n, d_out).
    """

    inputs: dict[int, Tensor] = field(default_factory=dict)
    slopes: dict[int, Tensor] = field(default_factory=dict)
    bits: dict[int, Tensor] = field(default_factory=dict)
    gates: dict[int, Tensor] = field(default_factory=dict)
    outputs: Tensor = field(default_factory=lambda: torch.empty(0, 0))

    @property
    def d_out(self) -> int:
        """Number of outputs."""
        return self.outputs.shape[-1]

    def is_switch(self, index: int) -> bool:
        """Whether the stage of this number, if there is one, sets neurons to zero."""
        return index in self.bits


def _product(
    left: Tensor, weight: Tensor, masked: bool, gate: Tensor | None = None, gate_out: Tensor | None = None
) -> Tensor:
    """gate_out o (left @ weight.T); zeros of a factor that has passed a ReLU or a gate (or its mask) are skipped.

    On a CUDA device only gates are, because zeros are not looked for there.
    """
    masked = masked and left.shape[0] >= MASKED_ROWS
    if masked and not left.is_cuda:
        return ops.masked_linear(left, weight, gate, gate_out, method="masked")
    if masked and gate is not None:
        product = ops.gram_ntk([left], [left[:, :0]], [weight], [weight[:, :0]], gates=[(gate, None)])
    else:
        product = left @ weight.mT
    return product if gate_out is None else ops.gate_rows(product, gate_out)


def _forward(stages: Sequence[Stage], name: str, x: Tensor) -> Pass:
    if x.dim() != 2:
        raise ValueError(f"{name}: expected shape (n, d), got {describe(x)}")
    samples, table, kept = x, None, Pass()
    for index, stage in enumerate(stages):
        if isinstance(stage, LinearStage):
            if x.shape[-1] != stage.weight.shape[1]:
                what = name if not kept.inputs else f"net: stage {index}"
                raise ValueError(f"{what}: expected {stage.weight.shape[1]} features, got {describe(x)}")
            kept.inputs[index] = x
            x = _product(x, stage.weight, kept.is_switch(index - 1), kept.gates.get(index - 1))
            if stage.bias is not None:
                x += stage.bias
        elif isinstance(stage, GateStage):
            if table is None:
                table = stage.net.gate_table(samples)
            kept.gates[index] = kept.bits[index] = expand_bits(table.bits[stage.layer], table.width, table.block)
            x = ops.gate_rows(x, kept.bits[index])
        else:
            function, derivative = stage.activation.function, stage.activation.derivative
            assert function is not None
            if derivative is not None:
                slope = derivative(x)
                if slope.dtype == torch.bool:
                    kept.bits[index] = ops.pack_bits(slope)
                else:
                    kept.slopes[index] = slope
            result = function(x)
            if stage.scale != 1:
                # What the function made anew is nobody else's.
                result = stage.scale * result if result is x else result.mul_(stage.scale)
            x = result
    kept.outputs = x
    return kept


def _check_outputs(net: nn.Module, stages: Sequence[Stage], x: Tensor, kept: Pass) -> None:
    """Refuse a network that computes something else than its stages, whatever the means.

    One sample is enough: what replaces a forward, of a class too, changes all of them.
    """
    with as_not_compiled(net):
        expected = net(x[:1].clone())
    last = max(kept.inputs)
    final = stages[last]
    assert isinstance(final, LinearStage)
    # What the last product adds up, before anything cancels.
    scale = kept.inputs[last][:1].abs() @ final.weight.abs().mT
    if final.bias is not None:
        scale += final.bias.abs()
    tolerance = torch.finfo(x.dtype).eps ** 0.5 * float(scale.max() if scale.numel() else 0.0)
    if not torch.allclose(kept.outputs[:1], expected, rtol=0.0, atol=tolerance, equal_nan=True):
        raise UnsupportedModuleError(
            f"net: {type(net).__name__} gives other outputs than its layers do, so something replaces what they "
            'compute; use method="jacobian"'
        )


def _deltas(stages: Sequence[Stage], kept: Pass, chosen: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(stage, Delta (n, k, width)) from the last linear stage to the first trained one, of the k rows of `chosen`."""
    n = next(iter(kept.inputs.values())).shape[0]
    delta, fresh, done = chosen.expand(n, *chosen.shape), False, -1
    first = min(index for index in kept.inputs if _trained(stages[index]))

    def each(bits: Tensor | None) -> Tensor | None:
        """Of the rows of every chosen output."""
        return bits if bits is None or len(chosen) == 1 else bits.repeat_interleave(len(chosen), 0)

    for index in range(len(stages) - 1, first - 1, -1):
        stage = stages[index]
        if isinstance(stage, LinearStage):
            yield index, delta
            if index > first:
                rows, below = delta.reshape(-1, delta.shape[-1]), each(kept.bits.get(index - 1))
                masked, gate = kept.is_switch(index + 1), each(kept.gates.get(index + 1))
                flat = _product(rows, stage.weight.mT, masked, gate, below)
                delta, fresh, done = flat.view(*delta.shape[:-1], -1), True, index - 1
            continue
        bits = None if index == done else each(kept.bits.get(index))  # the product behind it has masked its result
        if bits is not None:
            delta = ops.gate_rows(delta.reshape(-1, delta.shape[-1]), bits).view(delta.shape)
        if index in kept.slopes:
            delta, fresh = delta * kept.slopes[index].unsqueeze(1), True
        if not isinstance(stage, GateStage) and stage.scale != 1:
            delta, fresh = delta.mul_(stage.scale) if fresh else stage.scale * delta, True


def _trained(stage: Stage) -> bool:
    return isinstance(stage, LinearStage) and any(p is not None and p.requires_grad for p in (stage.weight, stage.bias))


def _uses(stages: Sequence[Stage], kept: Pass, chosen: Tensor) -> dict[int, list[Use]]:
    """Uses by trained parameter (its id), in the order of the network's layers.

    A bias joins the weight beside it where both are used just once, which saves a product.
    """
    counts: dict[int, int] = {}
    for stage in stages:
        if isinstance(stage, LinearStage):
            for parameter in (stage.weight, stage.bias):
                if parameter is not None:
                    counts[id(parameter)] = counts.get(id(parameter), 0) + 1
    uses: dict[int, list[Use]] = {}
    for index, delta in reversed(list(_deltas(stages, kept, chosen))):
        stage = stages[index]
        assert isinstance(stage, LinearStage)
        act, weight, bias = kept.inputs[index], stage.weight, stage.bias
        gates = kept.gates.get(index - 1), kept.gates.get(index + 1)
        if not delta.shape[-1]:  # a layer without neurons; a delta of width 0 would count as ones
            delta = delta.new_zeros(*delta.shape[:-1], 1)
        trained_bias = bias is not None and bias.requires_grad
        joined = trained_bias and weight.requires_grad and counts[id(weight)] == counts[id(bias)] == 1
        if weight.requires_grad:
            uses.setdefault(id(weight), []).append(Use(act, delta, 1.0 if joined else 0.0, *gates))
        if trained_bias and not joined:
            uses.setdefault(id(bias), []).append(Use(act[:, :0], delta, 1.0, None, gates[1]))
    return uses


def _summed(stages: list[Stage], left: Pass, right: Pass | None, chosen: Tensor, components: bool) -> Tensor:
    """Sum over the chosen outputs, rows of combinations: (n, n_z), with components (layers, n, n_z)."""
    uses = _uses(stages, left, chosen)
    others = None if right is None else _uses(stages, right, chosen)
    if others is None and not components and all(len(group) == 1 for group in uses.values()):
        return own_kernel([group[0] for group in uses.values()])
    kernels = [group_kernel(group, None if others is None else others[key]) for key, group in uses.items()]
    return torch.stack(kernels) if components else _total(kernels)


def _total(kernels: list[Tensor]) -> Tensor:
    total = kernels[0]
    for kernel in kernels[1:]:
        total += kernel
    return total


def _all_pairs(stages: list[Stage], left: Pass, right: Pass | None, components: bool) -> Tensor:
    """(n, d_y, n_z, d_y), with components (layers, n, d_y, n_z, d_y)."""
    every = torch.eye(left.d_out, dtype=left.outputs.dtype, device=left.outputs.device)
    uses = _uses(stages, left, every)
    others = None if right is None else _uses(stages, right, every)
    kernels = [pairs_kernel(group, None if others is None else others[key]) for key, group in uses.items()]
    return torch.stack(kernels) if components else _total(kernels)
