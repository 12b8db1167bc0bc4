"""What both networks of [G] share: trained square layers between two matrices that stay as they are drawn."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from gatentk.checks import check_dense, check_dtype, check_integer, describe
from gatentk.gates import GateTable
from gatentk.gates.weights import beside, gaussian
from gatentk.nn.conversion import ConvertibleModule
from gatentk.ops.autocast import same_dtype


class FixedEndsNetwork(ConvertibleModule, ABC):
    """Square layers W_1 .. W_depth between C and B, which are fixed unless asked: what both networks of [G] share.

    `y = B D_depth W_depth ... D_1 W_1 D_0 C x`; the networks differ in where the activation patterns D_k come from.
    """

    input_weight: Tensor
    output_weight: Tensor

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        d_out: int,
        generator: torch.Generator | None,
        dtype: torch.dtype | str | None,
        input_weight: Tensor | None = None,
        device: torch.device | str | None = None,
        train_ends: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(train_ends, bool):
            raise TypeError(f"train_ends: expected a bool, got {describe(train_ends)}")
        self.d_in = check_integer("d_in", d_in, 1)
        self.width = check_integer("width", width, 1)
        self.depth = check_integer("depth", depth, 1)
        self.d_out = check_integer("d_out", d_out, 1)
        self.train_ends = train_ends
        self.method = "auto"
        dtype = check_dtype(dtype)
        if input_weight is None:
            input_weight = gaussian(self.width, self.d_in, 2 / self.d_in, generator, dtype, device)
        self._register_end("input_weight", input_weight.detach().to(dtype, copy=True))
        output_weight = gaussian(self.d_out, self.width, 2 / self.d_out, generator, dtype, device)
        self._register_end("output_weight", beside(output_weight, input_weight))
        self.weights = nn.ParameterList(
            beside(gaussian(self.width, self.width, 2 / self.width, generator, dtype, device), input_weight)
            for _ in range(self.depth)
        )

    def _register_end(self, name: str, matrix: Tensor) -> None:
        if self.train_ends:
            self.register_parameter(name, nn.Parameter(matrix))
        else:
            self.register_buffer(name, matrix)

    @abstractmethod
    def gate_table(self, x: Tensor, path: str | os.PathLike[str] | None = None) -> GateTable | None:
        """The gates of samples (n, d_in) if they are known before training; None if they change with the weights."""

    @abstractmethod
    def activations(self, x: Tensor, gates: GateTable | None = None) -> list[Tensor]:
        """What W_1 .. W_depth and B are applied to, each (n, width).

        Args:
            x: samples (n, d_in) of the network's dtype.
            gates: of the samples, if they were looked up.
        """

    @abstractmethod
    def patterns(self, x: Tensor, gates: GateTable | None = None) -> GateTable:
        """Which neurons are on, D_0 .. D_depth; without the last where nothing switches it off. Arguments as before."""

    def check_input(self, x: object) -> None:
        """Raise TypeError or ValueError if x is no (n, d_in) tensor of the network's dtype."""
        if not isinstance(x, Tensor):
            raise TypeError(f"x: expected a torch tensor, got {describe(x)}")
        if x.layout != torch.strided:
            check_dense("x", x)
        if x.dim() != 2 or x.shape[1] != self.d_in:
            raise ValueError(f"x: expected shape (n, {self.d_in}), got {describe(x)}")
        if x.dtype != self.input_weight.dtype and not same_dtype(x, self.input_weight):
            raise TypeError(f"x: expected {self.input_weight.dtype} as the network's weights, got {describe(x)}")

    def extra_repr(self) -> str:
        """Sizes, as in the constructor."""
        ends = ", train_ends=True" if self.train_ends else ""
        return f"d_in={self.d_in}, width={self.width}, depth={self.depth}, d_out={self.d_out}{ends}"
