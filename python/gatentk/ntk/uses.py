"""Places where parameters act, and what they add to a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gatentk import ops
from gatentk.ntk.outputs import mirror


@dataclass
class Use:
    """One place where a parameter acts: its gradient there is the outer product of delta and act.

    An act of width 0 stands for the constant 1 that a bias multiplies; `bias` adds that constant to a weight's act.
    The gates are packed bits (n, row bytes) of an act and of each output's delta, where they were known beforehand.
    """

    act: Tensor
    delta: Tensor
    bias: float
    gate_act: Tensor | None
    gate_delta: Tensor | None

    @property
    def joined_delta(self) -> Tensor:
        """(n, outputs * width): products then sum over outputs."""
        return self.delta.reshape(self.delta.shape[0], -1)

    @property
    def joined_gates(self) -> tuple[Tensor | None, Tensor | None]:
        """Gates of the act and of the joined delta."""
        outputs, width = self.delta.shape[1:]
        if self.gate_delta is None or outputs == 1:
            return self.gate_act, self.gate_delta
        return self.gate_act, ops.pack_bits(ops.unpack_bits(self.gate_delta, width).repeat(1, outputs))


def own_kernel(uses: Sequence[Use]) -> Tensor:
    """Kernel of the samples with themselves, summed over uses of different parameters."""
    return ops.gram_ntk(
        [use.act for use in uses],
        [use.joined_delta for use in uses],
        gates=[use.joined_gates for use in uses],
        bias=[use.bias for use in uses],
    )


def group_kernel(left: Sequence[Use], right: Sequence[Use] | None) -> Tensor:
    """Kernel of one parameter: every use of it on the left meets every use on the right."""
    if right is None and len(left) == 1:
        return own_kernel(left)
    pairs = [(a, b) for a in left for b in (left if right is None else right)]
    kernel = ops.gram_ntk(
        [a.act for a, _ in pairs],
        [a.joined_delta for a, _ in pairs],
        [b.act for _, b in pairs],
        [b.joined_delta for _, b in pairs],
        gates=[a.joined_gates for a, _ in pairs],
        bias=[a.bias for a, _ in pairs],
    )
    return mirror(kernel, "trace") if right is None else kernel


def pairs_kernel(left: Sequence[Use], right: Sequence[Use] | None) -> Tensor:
    """Kernel of one parameter for all pairs of outputs, (n, k, n_z, k)."""
    others = left if right is None else right
    act, outputs = left[0].act, left[0].delta.shape[1]
    kernel = act.new_empty(len(act), outputs, len(others[0].act), outputs)
    for p in range(outputs):
        for q in range(p if right is None else 0, outputs):
            block = ops.gram_ntk(
                *_paired(left, p, others, q),
                gates=[(use.gate_act, use.gate_delta) for use in left for _ in others],
                bias=[use.bias for use in left for _ in others],
            )
            kernel[:, p, :, q] = block
            if right is None and q > p:
                kernel[:, q, :, p] = block.mT
    return mirror(kernel, "full") if right is None else kernel


def uses_kernel(left: Sequence[Use], right: Sequence[Use] | None, layout: str) -> Tensor:
    """Kernel of one parameter: (n, n_z) for "trace", (k, n, n_z) for "diag", (n, k, n_z, k) for "full"."""
    if layout == "full":
        return pairs_kernel(left, right)
    if layout == "trace":
        return group_kernel(left, right)
    return torch.stack(
        [
            group_kernel(_of_output(left, p), None if right is None else _of_output(right, p))
            for p in range(left[0].delta.shape[1])
        ]
    )


def gradients_kernel(left: Tensor, right: Tensor | None, layout: str) -> Tensor:
    """The same from gradients (n, k, size) themselves."""
    if layout == "diag":
        return torch.stack([_gram(left[:, p], None if right is None else right[:, p]) for p in range(left.shape[1])])
    if layout == "trace":
        return _gram(left.flatten(1), None if right is None else right.flatten(1))
    kernel = _gram(left.flatten(0, 1), None if right is None else right.flatten(0, 1))
    return kernel.view(*left.shape[:2], *(left if right is None else right).shape[:2])


def _gram(left: Tensor, right: Tensor | None) -> Tensor:
    if right is None:
        return ops.gram_ntk([left], [left[:, :0]])
    return ops.gram_ntk([left], [left[:, :0]], [right], [right[:, :0]])


def _of_output(uses: Sequence[Use], p: int) -> list[Use]:
    return [replace(use, delta=use.delta[:, p : p + 1]) for use in uses]


def _paired(
    left: Sequence[Use], p: int, right: Sequence[Use], q: int
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    pairs = [(a, b) for a in left for b in right]
    return (
        [a.act for a, _ in pairs],
        [a.delta[:, p] for a, _ in pairs],
        [b.act for _, b in pairs],
        [b.delta[:, q] for _, b in pairs],
    )
