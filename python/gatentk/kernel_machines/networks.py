"""The kernel of infinite width that a machine is asked for, by the arguments that estimators and kernels share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from gatentk import ntk
from gatentk.ntk.attached import Asked
from gatentk.ntk.gate_kinds import DEFAULT
from gatentk.ntk.networks import chosen_network
from gatentk.ntk.samples import check_depth
from gatentk.runs.memory import available_memory
from gatentk.scaling import unit_rows

DEVIATIONS = ("w_std", "b_std")  # that may be learnt
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
    w_std: float | Tensor | None = None
    b_std: float | Tensor | None = None
    slope: float | None = None
    normalize: bool = False

    @classmethod
    def of(cls, owner: Any) -> WideNetwork:
        """The network that an object's attributes of the same names describe."""
        return cls(**{field.name: getattr(owner, field.name) for field in fields(cls)})

    def check(self) -> None:
        """Refuse arguments that no samples go with.

        Raises:
            TypeError, ValueError: as `gatentk.ntk.infinite`; a `normalize` that is neither True nor False.
        """
        self._check_normalize()
        chosen_network(**self._arguments())

    def sweep(self, x: Tensor, z: Tensor | None, depths: Sequence[int]) -> Tensor:
        """Kernels (len(depths), ..., n, n_z) of samples (..., n, d) and (..., n_z, d), float64."""
        x, z = self._scaled(x, z)
        kernels: Tensor = ntk.infinite_sweep(x, z, depths, **self._arguments())
        return kernels

    def at(self, x: Tensor, z: Tensor | None, depth: int, dtype: torch.dtype) -> Tensor:
        """The kernel (..., n, n_z) at one depth, with gradients by samples and deviations that require them."""
        x, z = self._scaled(x, z)
        kernel: Tensor = ntk.infinite(x, z, depth, dtype=dtype, **self._arguments())
        return kernel

    def with_gradient(self, x: Tensor, depth: int, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The kernel (n, n) and its derivatives by the logarithms of the deviations named, (n, n, len(names))."""
        if not names:
            K = self.sweep(x, None, [depth])[0]
            return K, K.new_empty(*K.shape, 0)
        x, _ = self._scaled(x, None)
        asked = Asked((check_depth("depth", depth),), self.activation, torch.float64, self.kernel, self.slope, DEFAULT)
        K, *slopes = asked.by_deviations(x, None, self.w_std, self.b_std)
        by_name = dict(zip(DEVIATIONS, slopes, strict=True))
        return K, torch.stack([getattr(self, name) * by_name[name] for name in names], dim=-1)

    def _arguments(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "normalize"}

    def _check_normalize(self) -> None:
        if not isinstance(self.normalize, bool):
            raise TypeError(f"normalize: expected True or False, got {self.normalize!r}")

    def _scaled(self, x: Tensor, z: Tensor | None) -> tuple[Tensor, Tensor | None]:
        self._check_normalize()
        return (unit_rows(x), None if z is None else unit_rows(z)) if self.normalize else (x, z)

    def diagonal(self, x: Tensor, depth: int) -> Tensor:
        """The kernel of each sample (..., n, d) with itself, (..., n)."""
        return self.sweep(x.unsqueeze(-2), None, [depth])[0, ..., 0, 0]

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
