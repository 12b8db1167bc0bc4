"""What kernels and angles of infinite width are computed of: checked depths, activations and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatentk import ops
from gatentk.activations import ACTIVATIONS, Activation
from gatentk.checks import as_tensor, check_choice, check_dtype, check_integer, check_samples, describe
from gatentk.ntk.gate_kinds import DEFAULT, chosen_gates, from_center
from gatentk.ops.infinite import LARGEST_DEPTH
from gatentk.scaling import BalancedRows


def check_depth(name: str, value: object) -> int:
    """A number of hidden layers as an int."""
    depth = check_integer(name, value, 0)
    if depth > LARGEST_DEPTH:
        raise ValueError(f"{name}: expected at most {LARGEST_DEPTH:,} hidden layers, got {depth}")
    return depth


def checked_activation(name: str, depth: int, choices: Sequence[str] = tuple(ACTIVATIONS)) -> Activation:
    """The activation of that name, which a network with that many hidden layers can have."""
    activation = ACTIVATIONS[check_choice("activation", name, choices)]
    if depth < activation.smallest_depth:
        raise ValueError(
            f"depth: expected at least {activation.smallest_depth} for {name} (at depth {depth} nothing is trained), "
            f"got {depth}"
        )
    return activation


class Samples:
    """Checked samples of one call, as they were given and balanced."""

    def __init__(
        self,
        x: Any,
        z: Any,
        activation: str,
        depths: Sequence[int],
        dtype: torch.dtype | str = torch.float64,
        gates: object = DEFAULT,
    ) -> None:
        self.activation = checked_activation(activation, min(depths))
        self.dtype = check_dtype(dtype, torch.float64)
        tensors = [as_tensor("x", x)] + ([] if z is None else [as_tensor("z", z)])
        for name, tensor in zip(("x", "z"), tensors, strict=False):
            check_samples(name, tensor)
            if tensor.device.type not in ("cpu", "cuda"):
                raise ValueError(f"{name}: expected a CPU or CUDA tensor, got {describe(tensor)}")
        if len(tensors) == 2:
            self._check_pair(*tensors)
        self.gates = chosen_gates(gates, activation, tensors[0].shape[-1])
        right = tensors[1] if len(tensors) == 2 else None
        self.given = tensors
        self.rows = BalancedRows(tensors[0], right, self.dtype)
        self.x, self.z = self.rows.x, self.rows.z
        # As the gates see them.
        self.seen = self.rows
        if self.gates.center is not None:
            self.seen = from_center(tensors[0], right, self.gates.center, self.dtype)

    @staticmethod
    def _check_pair(x: Tensor, z: Tensor) -> None:
        if z.device != x.device:
            raise ValueError(f"z: expected a tensor on {x.device} as x, got {describe(z)}")
        if x.shape[-1] != z.shape[-1]:
            raise ValueError(f"z: expected {x.shape[-1]} features as in x, got {describe(z)}")
        if x.shape[:-2] != z.shape[:-2]:
            raise ValueError(f"z: expected leading dimensions {tuple(x.shape[:-2])} as in x, got {describe(z)}")

    def kernels(self, depths: Sequence[int]) -> Tensor:
        """(len(depths), ..., n, n_z), in the order asked for."""
        if self.activation.kernel is None or max(depths) == 0:
            factors = self.x.new_tensor([self.activation.trained(depth) for depth in depths])
            return self.rows.restore(factors.view(-1, *[1] * self.x.dim()) * self.gram())
        rising = sorted(set(depths))
        kernels = self._gated(rising) if self.activation.function is None else self._plain(rising)
        if rising != list(depths):
            kernels = kernels[[rising.index(depth) for depth in depths]]
        return self.rows.restore(kernels)

    def _plain(self, depths: list[int]) -> Tensor:
        assert self.activation.kernel is not None
        return ops.infinite_ntk(self.x, self.z, depths, self.activation.kernel)

    def _gated(self, depths: list[int]) -> Tensor:
        """Of gates that see other samples L x.z prod (1 - theta_s/pi), x.z in full digits and one triangle of each."""
        kind = self.gates.kind
        if self.seen is self.rows or kind.deficit is None:
            return ops.infinite_ntk(self.x, self.z, depths, kind.kernel)
        kernels = ops.infinite_ntk(self.seen.x, self.seen.z, depths, kind.deficit)
        gram = self.gram()
        for kernel, depth in zip(kernels, depths, strict=True):
            of_all = gram * depth
            torch.addcmul(of_all, kernel, of_all, value=-1, out=kernel)
        return kernels

    def gram(self) -> Tensor:
        """x.z of the balanced samples."""
        ones = self.x[..., :0]
        if self.z is None:
            return ops.gram_ntk([self.x], [ones])
        return ops.gram_ntk([self.x], [ones], [self.z], [self.z[..., :0]])
