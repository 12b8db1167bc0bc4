"""What networks with gates become without gatentk: modules of plain torch operations.

This file imports nothing but torch, so that a copy of it loads a state_dict where gatentk is not installed. Weights
have the names that they have in what the modules stand for: the state_dict of one is that of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


def gated(values: Tensor, on: Tensor, block: int = 1) -> Tensor:
    """`values` (..., width) where gates are on, exact zeros elsewhere.

    Args:
        values: of neurons.
        on: bool (..., units), a gate for `block` neighbouring neurons, the last of which may be fewer.
        block: see there.
    """
    if block > 1:
        # By number: of expanded and cut off gates, torch 2.13 compiles code for the CPU that reads wrong ones.
        on = on.index_select(-1, torch.arange(values.shape[-1], device=on.device) // block)
    return torch.where(on, values, torch.zeros((), dtype=values.dtype, device=values.device))


class _FixedGates(nn.Module):
    """A network that draws gates. They are the same with autocast and after a conversion: its dtype stays as it is."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Bool (..., units) for each layer with gates, of x (..., d_in) of any floating dtype."""
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._gates(x)
        return self._gates(x)

    def _gates(self, x: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _FixedGates:
        def keep_dtype(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        super()._apply(keep_dtype, recurse)  # type: ignore[no-untyped-call]
        return self


class PlainGateNetwork(_FixedGates):
    """The gates of samples, by plain products.

    `gatentk.gates.GateNetwork` adds in one fixed order and has the same bits in any batch; products here add as torch
    likes, so a gate whose sum is within rounding of zero may differ.

    Args:
        d_in, width, depth: sizes; depth counts layers behind the first.
        block: neighbouring neurons that share a gate.
        kind: "deep", `z_0 = C x, z_k = Psi_k relu(z_{k-1})`, or "shallow", `z_k = Psi_k x`; on where positive.
        centered: whether a center is subtracted from x first.
        dtype, device: of the weights, which are not initialised.

    Attributes:
        input_weight: buffer C, (units, d_in), units = ceil(width / block).
        psi_1 .. psi_depth: buffers, (units, units) if deep, else (units, d_in).
        center: buffer (d_in,), or None.
    """

    input_weight: Tensor
    center: Tensor | None

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        block: int = 1,
        kind: str = "deep",
        centered: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.block = block
        self.kind = kind
        units = -(-width // block)
        self.register_buffer("input_weight", torch.empty(units, d_in, dtype=dtype, device=device))
        for k in range(1, depth + 1):
            columns = units if kind == "deep" else d_in
            self.register_buffer(f"psi_{k}", torch.empty(units, columns, dtype=dtype, device=device))
        self.register_buffer("center", torch.empty(d_in, dtype=dtype, device=device) if centered else None)

    def _gates(self, x: Tensor) -> list[Tensor]:
        x = x.to(self.input_weight.dtype)
        if self.center is not None:
            x = x - self.center
        z = linear(x, self.input_weight)
        gates = [~(z <= 0)]  # so that a sample that is no number has its gates on and shows in the outputs
        for k in range(1, self.depth + 1):
            z = linear(torch.relu(z) if self.kind == "deep" else x, self.get_buffer(f"psi_{k}"))
            gates.append(~(z <= 0))
        return gates

    def extra_repr(self) -> str:
        """Sizes and form."""
        units, d_in = self.input_weight.shape
        return f"d_in={d_in}, units={units}, depth={self.depth}, block={self.block}, kind={self.kind!r}"


class PlainGReLUNetwork(nn.Module):
    """A gated ReLU network by plain operations: `t_0 = D_0 C x, t_k = D_k W_k t_{k-1}, y = B t_depth`.

    Args:
        d_in, width, depth, d_out: sizes.
        block, kind, centered, gate_dtype: of the gate network.
        train_ends: whether C and B are parameters.
        dtype, device: of the weights, which are not initialised.

    Attributes:
        weights: ParameterList W_1 .. W_depth, (width, width).
        input_weight, output_weight: C (width, d_in) and B (d_out, width), buffers or parameters.
        gate_net: `PlainGateNetwork`.
    """

    input_weight: Tensor
    output_weight: Tensor

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        d_out: int,
        block: int = 1,
        kind: str = "deep",
        centered: bool = False,
        gate_dtype: torch.dtype | None = None,
        train_ends: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        for name, shape in (("input_weight", (width, d_in)), ("output_weight", (d_out, width))):
            end = torch.empty(shape, dtype=dtype, device=device)
            if train_ends:
                self.register_parameter(name, nn.Parameter(end))
            else:
                self.register_buffer(name, end)
        self.weights = nn.ParameterList(torch.empty(width, width, dtype=dtype, device=device) for _ in range(depth))
        self.gate_net = PlainGateNetwork(d_in, width, depth, block, kind, centered, gate_dtype, device)

    def forward(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in).

        Args:
            x: samples of the dtype of the weights.
            masks: their gates, bool (depth + 1, n, units), as of `GateTable.to_bool`; computed if left out.

        Raises:
            ValueError: masks of another shape or dtype.
        """
        on = self.gate_net(x) if masks is None else self._given(x, masks)
        block = self.gate_net.block
        t = gated(linear(x, self.input_weight), on[0], block)
        for k, weight in enumerate(self.weights, 1):
            t = gated(linear(t, weight), on[k], block)
        return linear(t, self.output_weight)

    def _given(self, x: Tensor, masks: Tensor) -> list[Tensor]:
        layers, units = len(self.weights) + 1, self.gate_net.input_weight.shape[0]
        fits = masks.dtype == torch.bool and masks.dim() == 3 and masks.shape[0] == layers and masks.shape[2] == units
        if not fits or masks.shape[1] != x.shape[0]:
            raise ValueError(
                f"masks: expected bools of shape {(layers, len(x), units)}, got {masks.dtype} of {tuple(masks.shape)}"
            )
        return list(masks.unbind())


class PlainGatedLinear(nn.Module):
    """A layer with its gates by plain operations: `gate o (W z + b)`.

    Args:
        in_features, out_features: sizes.
        bias: whether there is a b.
        block, kind, centered, gate_dtype: of the gate network.
        gate_features: what it reads; `in_features` if left out.
        gate_depth: its layers behind the first; the gates are those of the last.
        dtype, device: of the weights, which are not initialised.

    Attributes:
        weight, bias: parameters W (out_features, in_features) and b (out_features), or None.
        gate_net: `PlainGateNetwork`.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        block: int = 1,
        kind: str = "shallow",
        centered: bool = False,
        gate_features: int | None = None,
        gate_depth: int = 0,
        gate_dtype: torch.dtype | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features, dtype=dtype, device=device))
        shift = torch.empty(out_features, dtype=dtype, device=device) if bias else None
        self.register_parameter("bias", None if shift is None else nn.Parameter(shift))
        features = in_features if gate_features is None else gate_features
        self.gate_net = PlainGateNetwork(features, out_features, gate_depth, block, kind, centered, gate_dtype, device)

    def forward(self, z: Tensor, gate_input: Tensor | None = None, masks: Tensor | None = None) -> Tensor:
        """Outputs (..., out_features) of (..., in_features).

        Args:
            z: of the dtype of the weights.
            gate_input: (..., features), what the gates read; z itself if left out.
            masks: the gates, bool (..., units), in place of what the gate network gives.

        Raises:
            ValueError: masks or gate_input of other rows than z; masks of another dtype.
        """
        if masks is None:
            masks = self.gate_net(z if gate_input is None else gate_input)[-1]
        units = self.gate_net.input_weight.shape[0]
        if masks.dtype != torch.bool or masks.shape != (*z.shape[:-1], units):
            rows = (*z.shape[:-1], units)
            raise ValueError(f"gates: expected bools of shape {rows}, got {masks.dtype} of {tuple(masks.shape)}")
        return gated(linear(z, self.weight, self.bias), masks, self.gate_net.block)


class PlainGReLULinear(nn.Module):
    """A layer by plain operations whose gates are given: `gate_out o (W (gate_in o z))`.

    Args:
        in_features, out_features: sizes.
        dtype, device: of the weight, which is not initialised.

    Attributes:
        weight: parameter W (out_features, in_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features, dtype=dtype, device=device))

    def forward(self, z: Tensor, gate_in: Tensor | None = None, gate_out: Tensor | None = None) -> Tensor:
        """Outputs (..., n, out_features) of (..., n, in_features).

        Args:
            z: of the dtype of the weight.
            gate_in: of z, bool (..., n, in_features), or packed bits, uint8 (..., n, row bytes), as the layer that this
                one stands for takes them; one of both gates may be left out.
            gate_out: the same for the outputs.

        Raises:
            ValueError: gates of other rows or another dtype, no gates at all.
        """
        if gate_in is None and gate_out is None:
            raise ValueError("gate_in, gate_out: expected gates of the inputs, of the outputs or of both, got None")
        if gate_in is not None:
            z = gated(z, self._bools("gate_in", gate_in, z))
        out = linear(z, self.weight)
        return out if gate_out is None else gated(out, self._bools("gate_out", gate_out, out))

    def _bools(self, name: str, gate: Tensor, values: Tensor) -> Tensor:
        if gate.dtype == torch.uint8:
            places = torch.arange(8, dtype=torch.uint8, device=gate.device)
            gate = (gate.unsqueeze(-1) >> places & 1).flatten(-2)[..., : values.shape[-1]] != 0
        if gate.dtype != torch.bool or gate.shape != values.shape:
            raise ValueError(
                f"{name}: expected bools of shape {tuple(values.shape)}, or these as packed bits, got {gate.dtype} of "
                f"{tuple(gate.shape)}"
            )
        return gate


def parts_of(layers: nn.Sequential) -> Iterator[nn.Module]:
    """The modules of a sequence in their order, and those of the sequences in it."""
    for part in layers:
        if type(part) is nn.Sequential:
            yield from parts_of(part)
        else:
            yield part


class PlainSequenceGates(_FixedGates):
    """The gates of samples, by the products of a sequence with weights and biases that stay as they are.

    Args:
        layers: Linear, ReLU, and others that change no gate, of which only sizes are taken.
        dtype, device: of the weights, which are not initialised; those of `layers` if left out.

    Attributes:
        relus: whether a ReLU follows each Linear, up to the last that one follows.
        psi_1, psi_2, ...: buffers, weight and bias of each of these side by side, (out_features, in_features + 1).
    """

    def __init__(
        self, layers: nn.Sequential, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        parts = list(parts_of(layers))
        self.flattens = any(isinstance(part, nn.Flatten) for part in parts)
        while parts and not isinstance(parts[-1], nn.ReLU):
            parts.pop()  # no gates depend on what follows the last ReLU
        self.relus = list[bool]()
        for part in parts:
            if isinstance(part, nn.Linear):
                self.relus.append(False)
                shape = part.out_features, part.in_features + 1
                psi = part.weight.detach().new_empty(shape, dtype=dtype, device=device)
                self.register_buffer(f"psi_{len(self.relus)}", psi)
            elif isinstance(part, nn.ReLU):
                self.relus[-1] = True

    def _gates(self, x: Tensor) -> list[Tensor]:
        z, gates = x.flatten(1) if self.flattens else x, []
        for k, relu in enumerate(self.relus, 1):
            psi = self.get_buffer(f"psi_{k}")
            z = linear(z.to(psi.dtype), psi[:, :-1], psi[:, -1])
            if relu:
                z = torch.relu(z)
                gates.append(~(z <= 0))  # so that a sample that is no number has its gates on and shows in the outputs
        return gates


class PlainGReLUSequential(nn.Module):
    """A gated network of a sequence by plain operations: its modules, with gates in the place of its ReLUs.

    Args:
        layers: Linear, ReLU right after a Linear, Dropout after these, Identity, Flatten before the first Linear, or
            sequences of these. It becomes a part of this module, not copied.
        dtype, device: of the gate weights, which are not initialised; those of `layers` if left out.

    Attributes:
        layers: as given; its ReLUs are not called.
        gate_net: `PlainSequenceGates`.
    """

    def __init__(
        self, layers: nn.Sequential, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        self.layers = layers
        self.gate_net = PlainSequenceGates(layers, dtype, device)

    def forward(self, x: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in), (n, ...) where the sequence flattens them.

        Args:
            x: samples of the dtype of the weights.
            masks: their gates, a bool (n, width) for each layer with a ReLU, as `table.to_bool()[0]` of its
                `GateTable`; computed if left out.

        Raises:
            ValueError: masks of another number, shape or dtype.
        """
        on = iter(self.gate_net(x) if masks is None else self._given(x, masks))
        t = x
        for part in parts_of(self.layers):
            t = gated(t, next(on)) if isinstance(part, nn.ReLU) else part(t)
        return t

    def _given(self, x: Tensor, masks: Sequence[Tensor] | Tensor) -> list[Tensor]:
        gates = self.gate_net
        widths = [len(gates.get_buffer(f"psi_{k}")) for k, relu in enumerate(gates.relus, 1) if relu]
        shapes = [(x.shape[0], width) for width in widths]  # not len(x), which torch.export makes a constant
        given = [(mask.dtype, tuple(mask.shape)) for mask in ([masks] if isinstance(masks, Tensor) else masks)]
        if isinstance(masks, Tensor) or given != [(torch.bool, shape) for shape in shapes]:
            found = ", ".join(f"{dtype} of {shape}" for dtype, shape in given)
            raise ValueError(f"masks: expected a list of bools of shapes {shapes}, got {found or 'none'}")
        return list(masks)


class PlainLowRankGated(nn.Module):
    """Inference with gates that low-rank factors predict, by plain operations; see `gatentk.convert.LowRankGated`.

    Args:
        net: the network, a `PlainGReLUNetwork`, or a sequence as `PlainGReLUSequential` has it.
        factors: (U_k, V_k) by the number k of a layer, in a sequence that of the Linear among all, from 0.

    Attributes:
        net: as given.
        u_1, v_1, u_2, ...: buffers with the factors.
    """

    def __init__(self, net: PlainGReLUNetwork | nn.Sequential, factors: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.net = net
        self.predicted = list(factors)
        for k, (u, v) in factors.items():
            self.register_buffer(f"u_{k}", u)
            self.register_buffer(f"v_{k}", v)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in) of the dtype of the weights, without Dropout."""
        if isinstance(self.net, PlainGReLUNetwork):
            outputs: Tensor = self.net(x, self._gates(self.net.gate_net, x))
            return outputs
        z, k, on = x, -1, None
        for part in parts_of(self.net):
            if isinstance(part, nn.Linear):
                k += 1
                on = self._predicted(k, z, part.bias) > 0 if k in self.predicted else None
                z = part(z)
            elif isinstance(part, nn.ReLU):
                z = torch.relu(z if on is None else gated(z, on))
            elif not isinstance(part, nn.Dropout):
                z = part(z)
        return z

    def _gates(self, gates: PlainGateNetwork, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):  # gates are the same with it and without
            with torch.autocast(x.device.type, enabled=False):
                return self._gates(gates, x)
        x = x.to(gates.input_weight.dtype)
        if gates.center is not None:
            x = x - gates.center
        z = torch.relu(linear(x, gates.input_weight))
        on = [~(z <= 0)]
        for k in self.predicted:
            z = torch.relu(self._predicted(k, x if gates.kind == "shallow" else z))
            on.append(~(z <= 0))
        return torch.stack(on)

    def _predicted(self, k: int, z: Tensor, bias: Tensor | None = None) -> Tensor:
        if torch.is_autocast_enabled(z.device.type):
            with torch.autocast(z.device.type, enabled=False):
                return self._predicted(k, z, bias)
        u, v = self.get_buffer(f"u_{k}"), self.get_buffer(f"v_{k}")
        guess = linear(linear(z.to(v.dtype), v), u)
        return guess if bias is None else guess + bias
