"""Networks as torch modules."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import FLOATS, check_choice, check_integer, describe
from gatentk.errors import GateTableError
from gatentk.gates import GateLayer, GateNetwork, GateTable


class MLP(nn.Module):
    """Fully connected network in NTK parametrisation ([S], Eq. 1-3).

    `alpha_0 = x, alpha_l = sqrt(2/width) relu(W_l alpha_{l-1}), f = W_{depth+1} alpha_depth`, all weights standard
    normal; "linear" uses the identity and sqrt(1/width). Depth 0 is the linear model `f = W_1 x`.

    Args:
        d_in, width, depth, d_out: sizes; `depth` counts hidden layers.
        activation: "relu" or "linear".
        generator: source of the weights; torch's global one if left out.
        dtype: float32 or float64; torch's default if left out.

    Attributes:
        weights: ParameterList W_1 .. W_{depth+1}; W_l has shape (width_l, width_{l-1}).

    Raises:
        TypeError, ValueError: a size that is no positive integer, an unknown activation or dtype.
    """

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        d_out: int = 1,
        activation: str = "relu",
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.d_in = check_integer("d_in", d_in, 1)
        self.width = check_integer("width", width, 1)
        self.depth = check_integer("depth", depth, 0)
        self.d_out = check_integer("d_out", d_out, 1)
        self.activation = check_choice("activation", activation, ("relu", "linear"))
        dtype = _check_dtype(dtype)
        sizes = [self.d_in, *[self.width] * self.depth, self.d_out]
        self.weights = nn.ParameterList(
            torch.randn(rows, columns, generator=generator, dtype=dtype) for columns, rows in pairwise(sizes)
        )

    @property
    def scale(self) -> float:
        """Factor of every hidden layer: sqrt(2/width) for ReLU, sqrt(1/width) for linear networks."""
        return math.sqrt((2 if self.activation == "relu" else 1) / self.width)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (..., d_out) of inputs (..., d_in)."""
        for weight in list(self.weights)[:-1]:
            x = nn.functional.linear(x, weight)
            x = self.scale * (torch.relu(x) if self.activation == "relu" else x)
        return nn.functional.linear(x, self.weights[-1])

    def extra_repr(self) -> str:
        """Sizes, as in the constructor."""
        return (
            f"d_in={self.d_in}, width={self.width}, depth={self.depth}, d_out={self.d_out}, "
            f"activation={self.activation!r}"
        )


def _check_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """`dtype`, or torch's default one."""
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if dtype not in FLOATS:
        raise TypeError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
    return dtype


def _gaussian(
    rows: int, columns: int, variance: float, generator: torch.Generator | None, dtype: torch.dtype
) -> Tensor:
    return math.sqrt(variance) * torch.randn(rows, columns, generator=generator, dtype=dtype)


class GReLULinear(nn.Module):
    """One layer of a gated network: `gate_out o (W (gate_in o z))`, which visits only what the gates leave on.

    Args:
        in_features, out_features: sizes.
        generator: source of W, drawn from N(0, 2/in_features); torch's global one if left out.
        dtype: float32 or float64; torch's default if left out.

    Attributes:
        weight: Parameter (out_features, in_features).
        method: "auto", "masked" or "dense", as in `gatentk.ops.masked_linear`.

    Raises:
        TypeError, ValueError: a size that is no positive integer, an unknown dtype.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_integer("in_features", in_features, 1)
        self.out_features = check_integer("out_features", out_features, 1)
        self.method = "auto"
        weight = _gaussian(self.out_features, self.in_features, 2 / self.in_features, generator, _check_dtype(dtype))
        self.weight = nn.Parameter(weight)

    def forward(self, z: Tensor, gate_in: ops.Gate = None, gate_out: ops.Gate = None) -> Tensor:
        """Outputs (..., n, out_features) of (..., n, in_features).

        Args:
            z: of the weight's dtype; its exact zeros are skipped if `gate_in` is left out.
            gate_in: packed bits (..., n, row bytes) of `z`, or a layer of a gate table.
            gate_out: the same for the outputs; those that are off are exact zeros.

        Raises:
            TypeError, ValueError: shapes or dtypes that do not fit each other.
        """
        return ops.masked_linear(z, self.weight, gate_in, gate_out, self.method)

    def extra_repr(self) -> str:
        """Sizes, as in the constructor."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class FixedEndsNetwork(nn.Module, ABC):
    """Trained square layers W_1 .. W_depth between a fixed C and a fixed B: what both networks of [G], Sec. 2 share.

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
        dtype: torch.dtype | None,
        input_weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.d_in = check_integer("d_in", d_in, 1)
        self.width = check_integer("width", width, 1)
        self.depth = check_integer("depth", depth, 1)
        self.d_out = check_integer("d_out", d_out, 1)
        self.method = "auto"
        dtype = _check_dtype(dtype)
        if input_weight is None:
            input_weight = _gaussian(self.width, self.d_in, 2 / self.d_in, generator, dtype)
        self.register_buffer("input_weight", input_weight.detach().to(dtype, copy=True))
        output_weight = _gaussian(self.d_out, self.width, 2 / self.d_out, generator, dtype)
        self.register_buffer("output_weight", output_weight.to(input_weight.device))
        self.weights = nn.ParameterList(
            _gaussian(self.width, self.width, 2 / self.width, generator, dtype).to(input_weight.device)
            for _ in range(self.depth)
        )

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

    def _check_input(self, x: object) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(f"x: expected a torch tensor, got {describe(x)}")
        if x.dim() != 2 or x.shape[1] != self.d_in:
            raise ValueError(f"x: expected shape (n, {self.d_in}), got {describe(x)}")
        if x.dtype != self.input_weight.dtype:
            raise TypeError(f"x: expected {self.input_weight.dtype} as the network's weights, got {describe(x)}")

    def extra_repr(self) -> str:
        """Sizes, as in the constructor."""
        return f"d_in={self.d_in}, width={self.width}, depth={self.depth}, d_out={self.d_out}"


class GReLUNetwork(FixedEndsNetwork):
    """Gated ReLU network ([G], Sec. 2): a fixed second network draws the gates, so they are known before training.

    `t_0 = D_0 C x, t_k = D_k W_k t_{k-1}, y = B t_depth`; no ReLU, t may be negative. Only W_1 .. W_depth are trained.
    Weights are drawn in the order C, B, W_1 .. W_depth, Psi: `ReLUNetwork` has the same C, B, W for the same seed.

    Args:
        d_in, width, depth, d_out: sizes; `depth`, at least 1, counts the trained layers.
        gates: "random" draws a gate network with the same C; a `GateNetwork` is used as it is, and its C becomes the
            network's (no C is drawn then), as does its device.
        generator: source of the weights; torch's global one if left out.
        dtype: float32 or float64; torch's default if left out.

    Attributes:
        weights: ParameterList W_1 .. W_depth, (width, width), N(0, 2/width).
        input_weight: buffer C, (width, d_in), N(0, 2/d_in).
        output_weight: buffer B, (d_out, width), N(0, 2/d_out).
        gate_net: the `GateNetwork`; its dtype and values stay as they are when the network is converted, so that
            gates stay the same.
        method: "auto", "masked" or "dense", as in `gatentk.ops.masked_linear`.

    Raises:
        TypeError, ValueError: a size that is no positive integer, an unknown dtype, a gate network of other sizes.
    """

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        d_out: int = 1,
        gates: str | GateNetwork = "random",
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        given = gates if isinstance(gates, GateNetwork) else None
        if given is None:
            check_choice("gates", gates, ("random",))
        elif (given.d_in, given.width, given.depth) != (d_in, width, depth):
            raise ValueError(
                f"gates: expected a gate network with d_in={d_in}, width={width}, depth={depth}, got one with "
                f"d_in={given.d_in}, width={given.width}, depth={given.depth}"
            )
        super().__init__(d_in, width, depth, d_out, generator, dtype, None if given is None else given.input_weight)
        if given is None:
            given = GateNetwork(
                self.d_in,
                self.width,
                self.depth,
                generator,
                self.input_weight.dtype,
                input_weight=self.input_weight,
            )
        self.gate_net = given

    def gate_table(self, x: Tensor, path: str | os.PathLike[str] | None = None) -> GateTable:
        """The gates of the samples x (n, d_in): computed once, looked up in every epoch.

        Args:
            x: samples, converted to the gate network's dtype.
            path: file to write the table to; it is then memory-mapped.

        Raises:
            TypeError, ValueError: samples that do not fit the network or are not finite.
        """
        return self.gate_net.table(x, path)

    def forward(self, x: Tensor, gates: GateTable | None = None) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in).

        Args:
            x: samples of the network's dtype.
            gates: their gates, `table[idx]` for the samples idx; computed on the fly if left out.

        Raises:
            TypeError, ValueError: samples or gates that do not fit the network.
            GateTableError: gates of another gate network; inside torch.compile this is not noticed.
        """
        layers = self._gate_layers(x, gates)
        t = self._input_layer(x, layers)
        for k, weight in enumerate(self.weights):
            t = ops.masked_linear(t, weight, layers[k], layers[k + 1], self.method)
        return ops.masked_linear(t, self.output_weight, layers[-1], None, self.method)

    def intermediate(self, x: Tensor, gates: GateTable | None = None) -> list[Tensor]:
        """t_0 .. t_depth, each (n, width); arguments and errors as in `forward`."""
        layers = self._gate_layers(x, gates)
        values = [self._input_layer(x, layers)]
        for k, weight in enumerate(self.weights):
            values.append(ops.masked_linear(values[-1], weight, layers[k], layers[k + 1], self.method))
        return values

    def activations(self, x: Tensor, gates: GateTable | None = None) -> list[Tensor]:
        """t_0 .. t_depth, as `intermediate`: there is nothing between them and the next weight."""
        return self.intermediate(x, gates)

    def patterns(self, x: Tensor, gates: GateTable | None = None) -> GateTable:
        """D_0 .. D_depth: the gates, computed if they are left out."""
        return self.gate_table(x) if gates is None else gates

    def _input_layer(self, x: Tensor, layers: list[GateLayer]) -> Tensor:
        return ops.masked_linear(x, self.input_weight, None, layers[0], self.method)

    def _gate_layers(self, x: Tensor, gates: GateTable | None) -> list[GateLayer]:
        """The gates of x, layer by layer."""
        self._check_input(x)
        if gates is not None:
            self._check_gates(gates, x.shape[0])
            # Not in a trace: it would be compiled again for tables that have no plans yet.
            if not torch.compiler.is_compiling():
                return [gates.layer(k) for k in range(gates.layers)]
        bits = self.gate_net.gates(x) if gates is None else gates.bits
        return [GateLayer(layer, self.width) for layer in bits]

    def _check_gates(self, gates: object, n: int) -> None:
        if not isinstance(gates, GateTable):
            raise TypeError(f"gates: expected a gatentk.gates.GateTable, got {describe(gates)}")
        if (gates.layers, gates.n, gates.width) != (self.depth + 1, n, self.width):
            raise ValueError(
                f"gates: expected {self.depth + 1} layers, {n} samples as in x and width {self.width}, got a table of "
                f"{gates.layers} layers, {gates.n} samples and width {gates.width}"
            )
        # A fingerprint is a hash of values, which a trace does not have.
        if torch.compiler.is_compiling() or gates.fingerprint is None:
            return
        if gates.fingerprint != self.gate_net.fingerprint:
            raise GateTableError(
                f"gates: expected a table of this network's gate network, {self.gate_net.fingerprint[:12]}..., got one "
                f"of {gates.fingerprint[:12]}...; compute it again by gate_table(x)"
            )


class ReLUNetwork(FixedEndsNetwork):
    """The ReLU network of [G], Sec. 2: `h_0 = C x, h_k = W_k relu(h_{k-1}), y = B relu(h_depth)`, C and B fixed.

    Weights are drawn in the order C, B, W_1 .. W_depth, so that `GReLUNetwork` has the same ones for the same seed.

    Args:
        d_in, width, depth, d_out: sizes; `depth`, at least 1, counts the trained layers.
        last_relu: whether there is a ReLU before B; without it `y = B h_depth`, as after the conversion of a GReLU
            network ([G], Thm 2).
        generator: source of the weights; torch's global one if left out.
        dtype: float32 or float64; torch's default if left out.

    Attributes:
        weights: ParameterList W_1 .. W_depth, (width, width), N(0, 2/width).
        input_weight: buffer C, (width, d_in), N(0, 2/d_in).
        output_weight: buffer B, (d_out, width), N(0, 2/d_out).
        method: "auto", "masked" (skip the zeros that ReLU leaves) or "dense", as in `gatentk.ops.masked_linear`.

    Raises:
        TypeError, ValueError: a size that is no positive integer, `last_relu` that is no bool, an unknown dtype.
    """

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        d_out: int = 1,
        last_relu: bool = True,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(last_relu, bool):
            raise TypeError(f"last_relu: expected a bool, got {describe(last_relu)}")
        super().__init__(d_in, width, depth, d_out, generator, dtype)
        self.last_relu = last_relu

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in) of the network's dtype."""
        h = self._input_layer(x)
        for weight in self.weights:
            h = ops.masked_linear(torch.relu(h), weight, method=self.method)
        return ops.masked_linear(torch.relu(h) if self.last_relu else h, self.output_weight, method=self.method)

    def intermediate(self, x: Tensor) -> list[Tensor]:
        """h_0 .. h_depth, each (n, width): the values before the ReLUs."""
        values = [self._input_layer(x)]
        for weight in self.weights:
            values.append(ops.masked_linear(torch.relu(values[-1]), weight, method=self.method))
        return values

    def gate_table(self, x: Tensor, path: str | os.PathLike[str] | None = None) -> None:
        """None: which neurons are on changes with the weights."""

    def activations(self, x: Tensor, gates: GateTable | None = None) -> list[Tensor]:
        """relu(h_0) .. relu(h_depth); the last is h_depth without the last ReLU. There are no `gates` to give."""
        self._check_no_gates(gates)
        values = self.intermediate(x)
        last = values[-1].relu() if self.last_relu else values[-1]
        return [*(h.relu() for h in values[:-1]), last]

    def patterns(self, x: Tensor, gates: GateTable | None = None) -> GateTable:
        """h_k > 0 wherever there is a ReLU. There are no `gates` to give."""
        self._check_no_gates(gates)
        values = self.intermediate(x)
        return GateTable.from_bool(torch.stack([h > 0 for h in (values if self.last_relu else values[:-1])]))

    def _check_no_gates(self, gates: object) -> None:
        if gates is not None:
            raise TypeError(f"gates: expected None, as a ReLU network has no gates, got {describe(gates)}")

    def _input_layer(self, x: Tensor) -> Tensor:
        self._check_input(x)
        return ops.masked_linear(x, self.input_weight, method=self.method)

    def extra_repr(self) -> str:
        """Sizes and form, as in the constructor."""
        return f"{super().extra_repr()}, last_relu={self.last_relu}"
