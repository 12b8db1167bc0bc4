"""Inference of an `nn.Sequential` whose gates low-rank factors predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import describe
from gatentk.convert.predicted_gates import PredictedGates
from gatentk.gates import GateTable
from gatentk.nn.sequential import steps_of


class LowRankSequential(PredictedGates):
    """Inference of a ReLU network with biases and layers of any widths, with gates that low-rank factors predict.

    The gates of the first layer with a ReLU are exact. Those of the others come from the activations that this module
    computes: `U_k V_k z + b_k > 0`. Zeros of a layer's inputs are skipped, and neurons predicted off for all samples of
    a batch are not computed where that pays. No gradients, and no Dropout.

    Args:
        net: the network; not copied, its weights are those in use.
        factors: (U_k, V_k), (out_features, rank) and (rank, in_features), by the number k of the Linear among all,
            from 0.

    Attributes:
        net: as given.
        u_1, v_1, u_2, ...: buffers with the factors.
        method: "auto", "masked" or "dense", as in `gatentk.ops.masked_linear`.
        flatten, steps: what `steps_of` says of the network.
    """

    def __init__(self, net: nn.Sequential, factors: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        super().__init__(factors)
        self.flatten, self.steps = steps_of("net", net)
        self._predicted = frozenset(factors)
        self.net = net
        self.method = "auto"

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in), (n, ...) where the network flattens them."""
        return self.outputs_and_gates(x)[0]

    def gate_tables(self, x: Tensor) -> list[GateTable]:
        """The gates in use for samples, a table of one layer for each layer with a ReLU.

        >>> from gatentk.convert import low_rank_gates
        >>> net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
        >>> fast, report = low_rank_gates(net, torch.eye(10))
        >>> [table.width for table in fast.gate_tables(torch.eye(10))]
        [64, 32]
        """
        widths = [cast(nn.Linear, self.net.get_submodule(step.name)).out_features for step in self.steps if step.relu]
        bits = self.outputs_and_gates(x)[1]
        return [GateTable(layer[None], width) for layer, width in zip(bits, widths, strict=True)]

    @torch.no_grad()
    def outputs_and_gates(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Outputs, and the packed gates of all layers with a ReLU."""
        z = x.flatten(1) if self.flatten and x.dim() > 1 else x
        check_rows(z, cast(nn.Linear, self.net.get_submodule(self.steps[0].name)))
        bits: list[Tensor] = []
        for k, step in enumerate(self.steps):
            linear = cast(nn.Linear, self.net.get_submodule(step.name))
            bias = linear.bias
            if k in self._predicted:
                guess = self._predict(k, z)
                on = (guess if bias is None else guess + bias) > 0
                z = self._product(z, linear.weight, None, on, self.method)
                z = torch.relu(z if bias is None else torch.where(on, z + bias.to(z.dtype), 0))
                bits.append(ops.pack_bits(on))
                continue
            z = ops.masked_linear(z, linear.weight, method=self.method)
            z = z if bias is None else z + bias.to(z.dtype)
            if step.relu:
                z = torch.relu(z)
                bits.append(ops.pack_bits(z > 0))
        return z, bits


def check_rows(z: Tensor, first: nn.Linear) -> None:
    """Refuse samples that do not fit the first layer."""
    if z.dim() != 2 or z.shape[1] != first.in_features:
        raise ValueError(f"x: expected shape (n, {first.in_features}), got {describe(z)}")
    if z.dtype != first.weight.dtype:
        raise TypeError(f"x: expected {first.weight.dtype} as the network's weights, got {describe(z)}")
