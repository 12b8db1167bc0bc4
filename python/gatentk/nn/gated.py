"""The gated network of [G]: its gates come from a second network, which is not trained."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from gatentk import ops
from gatentk.checks import check_choice, check_dtype, describe
from gatentk.errors import GateTableError
from gatentk.gates import GateLayer, GateNetwork, GateTable
from gatentk.gates.weights import beside, gaussian
from gatentk.nn.block_chain import BlockChain, chain_is_faster
from gatentk.nn.fixed_ends import FixedEndsNetwork


class GReLUNetwork(FixedEndsNetwork):
    """Gated ReLU network ([G], Sec. 2): a fixed second network draws the gates, so they are known before training.

    `t_0 = D_0 C x, t_k = D_k W_k t_{k-1}, y = B t_depth`; no ReLU, t may be negative. Only W_1 .. W_depth are trained:
    C and B stay as they are drawn, as in the paper, unless `train_ends` makes them parameters too. Gates always stay.
    Weights are drawn in the order C, B, W_1 .. W_depth, Psi: `ReLUNetwork` has the same C, B, W for the same seed.

    Args:
        d_in, width, depth, d_out: sizes; `depth`, at least 1, counts the trained layers.
        gates: "random" draws a gate network with the same C; a `GateNetwork` of any kind and block is used as it is,
            and its device becomes the network's. So does its C (none is drawn then) if it is as in the paper: deep, of
            single neurons, without a center. All others have a C' of their own beside the network's.
        generator: source of the weights; torch's global one if left out.
        dtype: float32 or float64; torch's default if left out.
        device: where the weights are drawn and lie, "meta" for shapes alone; torch's default if left out.
        train_ends: whether C and B are Parameters, trained as W_1 .. W_depth are; fixed, as in the paper, if not.

    Attributes:
        weights: ParameterList W_1 .. W_depth, (width, width), N(0, 2/width).
        input_weight: C, (width, d_in), N(0, 2/d_in); a buffer, or a Parameter with `train_ends`.
        output_weight: B, (d_out, width), N(0, 2/d_out); the same.
        gate_net: the `GateNetwork`; its dtype and values stay as they are when the network is converted, so that
            gates stay the same.
        method: "auto", "masked" or "dense", as in `gatentk.ops.masked_linear`.

    Raises:
        TypeError, ValueError: a size that is no positive integer, an unknown dtype, a gate network of other sizes.

    >>> import torch
    >>> import gatentk as gt
    >>> x = torch.eye(4)
    >>> net = gt.nn.GReLUNetwork(4, 64, 2, generator=torch.Generator().manual_seed(0))
    >>> table = net.gate_table(x)
    >>> torch.equal(net(x[1:3], gates=table[1:3]), net(x[1:3]))
    True
    >>> [name for name, _ in net.named_parameters()]
    ['weights.0', 'weights.1']
    """

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        d_out: int = 1,
        gates: str | GateNetwork = "random",
        generator: torch.Generator | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        train_ends: bool = False,
    ) -> None:
        given = gates if isinstance(gates, GateNetwork) else None
        if given is None:
            check_choice("gates", gates, ("random",))
        elif (given.d_in, given.width, given.depth) != (d_in, width, depth):
            raise ValueError(
                f"gates: expected a gate network with d_in={d_in}, width={width}, depth={depth}, got one with "
                f"d_in={given.d_in}, width={given.width}, depth={given.depth}"
            )
        elif device is not None and torch.empty(0, device=device).device != given.input_weight.device:
            raise ValueError(f"device: expected that of gates, {given.input_weight.device}, got {device}")
        input_weight = None if given is None else given.input_weight
        if given is not None and not given.shares_input_weight:
            # Beside the gates, as a C of theirs would be.
            own = gaussian(given.width, given.d_in, 2 / given.d_in, generator, check_dtype(dtype), device)
            input_weight = beside(own, given.input_weight)
        super().__init__(d_in, width, depth, d_out, generator, dtype, input_weight, device, train_ends)
        if given is None:
            given = GateNetwork(
                self.d_in,
                self.width,
                self.depth,
                generator,
                self.input_weight.dtype,
                input_weight=self.input_weight,
                device=device,
            )
        self.gate_net = given

    def gate_table(self, x: Tensor, path: str | os.PathLike[str] | None = None) -> GateTable:
        """The gates of the samples x (n, d_in): computed once, looked up in every epoch.

        Args:
            x: samples, converted to the gate network's dtype.
            path: file to write the table to; it is then memory-mapped.

        Raises:
            TypeError, ValueError: samples that do not fit the network or are not finite.

        >>> table = GReLUNetwork(4, 64, 2).gate_table(torch.eye(4))
        >>> table.layers, table.n, table.width
        (3, 4, 64)
        """
        if isinstance(x, Tensor) and x.dtype in (torch.bfloat16, torch.float16):
            x = x.to(self.gate_net.input_weight.dtype)  # exact
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
        layers, weights = self.gate_layers(x, gates), [self.input_weight, *self.weights]
        if chain_is_faster(x, layers, weights, self.method):
            chain = BlockChain(layers, weights)
            for t in chain.values(x):  # noqa: B007 (no list: without gradients only the last one is kept)
                pass
            return chain.output(t, self.output_weight)
        for t in self._values(x, layers):  # noqa: B007 (as above)
            pass
        return ops.masked_linear(t, self.output_weight, layers[-1], None, self.method)

    def intermediate(self, x: Tensor, gates: GateTable | None = None) -> list[Tensor]:
        """t_0 .. t_depth, each (n, width); arguments and errors as in `forward`.

        >>> [tuple(t.shape) for t in GReLUNetwork(4, 64, 2).intermediate(torch.eye(4))]
        [(4, 64), (4, 64), (4, 64)]
        """
        layers, weights = self.gate_layers(x, gates), [self.input_weight, *self.weights]
        if chain_is_faster(x, layers, weights, self.method):
            chain = BlockChain(layers, weights)
            return [chain.rows(k, t) for k, t in enumerate(chain.values(x))]
        return list(self._values(x, layers))

    def activations(self, x: Tensor, gates: GateTable | None = None) -> list[Tensor]:
        """t_0 .. t_depth, as `intermediate`: there is nothing between them and the next weight."""
        return self.intermediate(x, gates)

    def patterns(self, x: Tensor, gates: GateTable | None = None) -> GateTable:
        """D_0 .. D_depth: the gates, computed if they are left out.

        >>> net, x = GReLUNetwork(4, 64, 2), torch.eye(4)
        >>> bool((net.activations(x)[1] != 0).logical_and(~net.patterns(x).to_bool()[1]).any())
        False
        """
        return self.gate_table(x) if gates is None else gates

    def _values(self, x: Tensor, layers: list[GateLayer]) -> Iterator[Tensor]:
        """t_0 .. t_depth, layer by layer."""
        t = ops.masked_linear(x, self.input_weight, None, layers[0], self.method)
        yield t
        for k, weight in enumerate(self.weights):
            t = ops.masked_linear(t, weight, layers[k], layers[k + 1], self.method)
            yield t

    def gate_layers(self, x: Tensor, gates: GateTable | None) -> list[GateLayer]:
        """The gates of x, layer by layer: those given, if they fit, else computed; errors as in `forward`."""
        self.check_input(x)
        if gates is not None:
            self._check_gates(gates, x.shape[0])
            # Not in a trace: it would be compiled again for tables that have no plans yet.
            if not torch.compiler.is_compiling():
                return [gates.layer(k) for k in range(gates.layers)]
        bits = self.gate_net.gates(x) if gates is None else gates.bits
        return [GateLayer(layer, self.width, self.gate_net.block) for layer in bits]

    def _check_gates(self, gates: object, n: int) -> None:
        if not isinstance(gates, GateTable):
            raise TypeError(f"gates: expected a gatentk.gates.GateTable, got {describe(gates)}")
        if (gates.layers, gates.n, gates.width) != (self.depth + 1, n, self.width):
            raise ValueError(
                f"gates: expected {self.depth + 1} layers, {n} samples as in x and width {self.width}, got a table of "
                f"{gates.layers} layers, {gates.n} samples and width {gates.width}"
            )
        if gates.block != self.gate_net.block:
            raise ValueError(
                f"gates: expected a table of block {self.gate_net.block} as the gate network's, got one of block "
                f"{gates.block}; compute it by gate_table(x)"
            )
        # A fingerprint is a hash of values, which a trace does not have.
        if torch.compiler.is_compiling() or gates.fingerprint is None:
            return
        if gates.fingerprint != self.gate_net.fingerprint:
            raise GateTableError(
                f"gates: expected a table of this network's gate network, {self.gate_net.fingerprint[:12]}..., got one "
                f"of {gates.fingerprint[:12]}...; compute it again by gate_table(x)"
            )
