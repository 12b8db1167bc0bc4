"""The kernel of infinite width that a machine is asked for, by the arguments that estimators and kernels share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from gatentk import ntk
from gatentk.runs.memory import available_memory
from gatentk.scaling import unit_rows

AT_ONCE = 2**24  # entries of a kernel between new samples and those of the fit


@dataclass(frozen=True)
class WideNetwork:
    """All but the depth of a network of infinite width: arguments of `gatentk.ntk.infinite_sweep`.

    Attributes:
        kernel: "ntk", all weights are trained, or "nngp", only those of the last layer.
        activation, w_std, b_std, slope: as in `gatentk.ntk.infinite`.
        normalize: samples are scaled to norm 1 first; those that are all zero stay so.
    """

    kernel: str = "ntk"
    activation: str = "relu"
    w_std: float | None = None
    b_std: float | None = None
    slope: float | None = None
    normalize: bool = False

    @classmethod
    def of(cls, owner: Any) -> WideNetwork:
        """The network that an object's attributes of the same names describe."""
        return cls(**{field.name: getattr(owner, field.name) for field in fields(cls)})

    def sweep(self, x: Tensor, z: Tensor | None, depths: Sequence[int]) -> Tensor:
        """Kernels (len(depths), ..., n, n_z) of samples (..., n, d) and (..., n_z, d), float64."""
        if not isinstance(self.normalize, bool):
            raise TypeError(f"normalize: expected True or False, got {self.normalize!r}")
        if self.normalize:
            x, z = unit_rows(x), None if z is None else unit_rows(z)
        kernels: Tensor = ntk.infinite_sweep(
            x,
            z,
            depths,
            self.activation,
            kernel=self.kernel,
            w_std=self.w_std,
            b_std=self.b_std,
            slope=self.slope,
        )
        return kernels

    def diagonal(self, x: Tensor, depth: int) -> Tensor:
        """The kernel of each sample with itself, (n,)."""
        return self.sweep(x.unsqueeze(-2), None, [depth])[0, :, 0, 0]

    def in_blocks(self, x: Tensor, z: Tensor, depth: int) -> Iterator[tuple[slice, Tensor]]:
        """Rows of x, and their kernel with all of z, a part after another that fits anywhere."""
        rows = max(1, AT_ONCE // len(z))
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            yield part, self.sweep(x[part], z, [depth])[0]

    def one_by_one(self, x: Tensor, depths: Sequence[int]) -> Iterator[Tensor]:
        """Square kernels at some depths, from one sweep, or from several where all together need too much memory."""
        free = available_memory()
        # Beside them stand what a solution of one needs, about three of them.
        most = len(depths) if free is None else max(1, free // (16 * len(x) ** 2) - 3)
        for start in range(0, len(depths), most):
            yield from self.sweep(x, None, depths[start : start + most])
