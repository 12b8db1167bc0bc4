"""The ReLU network of [G]."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from gatentk import ops
from gatentk.checks import describe
from gatentk.gates import GateTable
from gatentk.nn.fixed_ends import FixedEndsNetwork


class ReLUNetwork(FixedEndsNetwork):
    """The ReLU network of [G], Sec. 2: `h_0 = C x, h_k = W_k relu(h_{k-1}), y = B relu(h_depth)`.

    Only W_1 .. W_depth are trained: C and B stay as they are drawn, unless `train_ends` makes them parameters too.
    Weights are drawn in the order C, B, W_1 .. W_depth, so that `GReLUNetwork` has the same ones for the same seed.

    Args:
        d_in, width, depth, d_out: sizes; `depth`, at least 1, counts the trained layers.
        last_relu: whether there is a ReLU before B; without it `y = B h_depth`, as after the conversion of a GReLU
            network ([G], Thm 2).
        generator: source of the weights; torch's global one if left out.
        dtype: float32 or float64; torch's default if left out.
        device: where the weights are drawn and lie, "meta" for shapes alone; torch's default if left out.
        train_ends: whether C and B are Parameters, trained as W_1 .. W_depth are; fixed, as in the paper, if not.

    Attributes:
        weights: ParameterList W_1 .. W_depth, (width, width), N(0, 2/width).
        input_weight: C, (width, d_in), N(0, 2/d_in); a buffer, or a Parameter with `train_ends`.
        output_weight: B, (d_out, width), N(0, 2/d_out); the same.
        method: "auto", "masked" (skip the zeros that ReLU leaves) or "dense", as in `gatentk.ops.masked_linear`.

    Raises:
        TypeError, ValueError: a size that is no positive integer, `last_relu` that is no bool, an unknown dtype.

    >>> import torch
    >>> import gatentk as gt
    >>> relu = gt.nn.ReLUNetwork(4, 64, 2, generator=torch.Generator().manual_seed(0))
    >>> grelu = gt.nn.GReLUNetwork(4, 64, 2, generator=torch.Generator().manual_seed(0))
    >>> torch.equal(relu.weights[1], grelu.weights[1])
    True
    >>> relu(torch.eye(4)).shape
    torch.Size([4, 1])
    """

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        d_out: int = 1,
        last_relu: bool = True,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        train_ends: bool = False,
    ) -> None:
        if not isinstance(last_relu, bool):
            raise TypeError(f"last_relu: expected a bool, got {describe(last_relu)}")
        super().__init__(d_in, width, depth, d_out, generator, dtype, device=device, train_ends=train_ends)
        self.last_relu = last_relu

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in) of the network's dtype."""
        for h in self._values(x):  # noqa: B007 (no list: without gradients only the last one is kept)
            pass
        return ops.masked_linear(torch.relu(h) if self.last_relu else h, self.output_weight, method=self.method)

    def intermediate(self, x: Tensor) -> list[Tensor]:
        """h_0 .. h_depth, each (n, width): the values before the ReLUs.

        >>> net, x = ReLUNetwork(4, 64, 2, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
        >>> h = net.intermediate(x)
        >>> torch.allclose(net(x), torch.relu(h[2]) @ net.output_weight.T)
        True
        """
        return list(self._values(x))

    def gate_table(self, x: Tensor, path: str | os.PathLike[str] | None = None) -> None:
        """None: which neurons are on changes with the weights."""

    def activations(self, x: Tensor, gates: GateTable | None = None) -> list[Tensor]:
        """relu(h_0) .. relu(h_depth); the last is h_depth without the last ReLU. There are no `gates` to give."""
        self._check_no_gates(gates)
        values = self.intermediate(x)
        last = values[-1].relu() if self.last_relu else values[-1]
        return [*(h.relu() for h in values[:-1]), last]

    def patterns(self, x: Tensor, gates: GateTable | None = None) -> GateTable:
        """h_k > 0 wherever there is a ReLU. There are no `gates` to give.

        >>> net, x = ReLUNetwork(4, 64, 2), torch.eye(4)
        >>> torch.equal(net.patterns(x).to_bool()[1], net.intermediate(x)[1] > 0)
        True
        """
        self._check_no_gates(gates)
        values = self.intermediate(x)
        return GateTable.from_bool(torch.stack([h > 0 for h in (values if self.last_relu else values[:-1])]))

    def _check_no_gates(self, gates: object) -> None:
        if gates is not None:
            raise TypeError(f"gates: expected None, as a ReLU network has no gates, got {describe(gates)}")

    def _values(self, x: Tensor) -> Iterator[Tensor]:
        self.check_input(x)
        h = ops.masked_linear(x, self.input_weight, method=self.method)
        yield h
        for weight in self.weights:
            h = ops.masked_linear(torch.relu(h), weight, method=self.method)
            yield h

    def extra_repr(self) -> str:
        """Sizes and form, as in the constructor."""
        return f"{super().extra_repr()}, last_relu={self.last_relu}"
