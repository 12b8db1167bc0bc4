"""Gated networks with layers of any widths and biases, made of an `nn.Sequential`."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import FLOATS, check_finite, describe
from gatentk.errors import GateTableError, UnsupportedModuleError
from gatentk.gates import GateLayer, GateTable
from gatentk.nn.conversion import ConvertibleModule
from gatentk.nn.skipping import SkippingLinear

_ACTIVATION_BYTES = 256_000_000  # of the samples whose gates are computed at a time


class Step(NamedTuple):
    """A Linear of a sequence and what follows it up to the next.

    Attributes:
        name: of the Linear.
        relu: whether a ReLU follows it.
        dropouts: names of Dropout layers behind that.
    """

    name: str
    relu: bool
    dropouts: tuple[str, ...]


def steps_of(name: str, model: nn.Sequential) -> tuple[bool, tuple[Step, ...]]:
    """The layers of a ReLU network: whether samples are flattened before, and its steps.

    Args:
        name: of the network in a message.
        model: Linear, each with a ReLU behind it or without, Dropout after these, Identity anywhere, and Flatten before
            the first Linear; or sequences of these.

    Raises:
        UnsupportedModuleError: another module, or another order of these; the message names it.
        ValueError: there is no Linear.
    """
    flatten, steps = False, list[Step]()
    for place, part in _parts(model, ""):
        kind = type(part)
        if kind in (nn.Linear, SkippingLinear):
            steps.append(Step(place, False, ()))
        elif kind is nn.ReLU and steps and not steps[-1].relu and not steps[-1].dropouts:
            steps[-1] = steps[-1]._replace(relu=True)
        elif kind is nn.Dropout and steps:
            steps[-1] = steps[-1]._replace(dropouts=(*steps[-1].dropouts, place))
        elif type(part) is nn.Flatten and not steps and part.start_dim == 1 and part.end_dim == -1:
            flatten = True
        elif kind is not nn.Identity:
            raise UnsupportedModuleError(
                f"{name}.{place}: expected Linear, ReLU right after a Linear, Dropout after these, Identity, or "
                f"Flatten of all features before the first Linear, got {part}"
            )
    if not steps:
        raise ValueError(f"{name}: expected at least one Linear, got {describe(model)} without")
    return flatten, tuple(steps)


def check_steps(name: str, model: nn.Sequential, flatten: bool, steps: tuple[Step, ...]) -> None:
    """Refuse a network whose layers follow each other otherwise than when its steps were found.

    Args:
        name: of the network in a message.
        model: the network.
        flatten, steps: what `steps_of` said of it.

    Raises:
        UnsupportedModuleError: other modules; the message names the first that `steps_of` does not take.
    """
    if steps_of(name, model) != (flatten, steps):
        raise UnsupportedModuleError(f"{name}: has other modules than when its gates were found; make them anew")


def _parts(model: nn.Sequential, prefix: str) -> Iterator[tuple[str, nn.Module | None]]:
    # Not named_children, which names a ReLU that is used several times once.
    for index, part in model._modules.items():
        if type(part) is nn.Sequential:
            yield from _parts(part, f"{prefix}{index}.")
        else:
            yield f"{prefix}{index}", part


class SequenceGates(nn.Module):
    """The fixed network that draws the gates of a `GReLUSequential`: weights and biases of a sequence as they are.

    Its products add in a fixed order, as those of a `GateNetwork`, and its dtype stays as it is.

    Attributes:
        psi_1, psi_2, ...: buffers, weight and bias of each Linear side by side, (out_features, in_features + 1).
        relus: whether a ReLU follows each.
    """

    def __init__(self, layers: nn.Sequential, steps: Sequence[Step]) -> None:
        super().__init__()
        self._known_fingerprint: tuple[tuple[object, ...], bytes] | None = None
        self.relus = [step.relu for step in steps]
        while self.relus and not self.relus[-1]:
            self.relus.pop()  # no gates depend on what follows the last ReLU
        for k, step in enumerate(steps[: len(self.relus)], 1):
            linear = cast(nn.Linear, layers.get_submodule(step.name))
            weight, bias = linear.weight.detach(), linear.bias
            column = weight.new_zeros(len(weight)) if bias is None else bias.detach()
            self.register_buffer(f"psi_{k}", torch.cat([weight, column[:, None]], 1))

    @property
    def weights(self) -> list[Tensor]:
        """psi_1, psi_2, ..."""
        return [cast(Tensor, getattr(self, f"psi_{k}")) for k in range(1, len(self.relus) + 1)]

    @property
    def widths(self) -> list[int]:
        """Neurons of the layers that have gates."""
        return [len(psi) for psi, relu in zip(self.weights, self.relus, strict=True) if relu]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides the gates."""
        return self._digest().hex()

    @property
    def fingerprints(self) -> list[str]:
        """SHA-256 of each layer with gates and of all that decides them."""
        digest = self._digest()
        return [hashlib.sha256(digest + struct.pack("<Q", k)).hexdigest() for k in range(len(self.widths))]

    def _digest(self) -> bytes:
        """Kept as long as the checksum of the weights stays the same."""
        weights = self.weights
        state = tuple(weight.dtype for weight in weights), ops.checksum(weights)
        known = self._known_fingerprint
        if known is None or known[0] != state:
            digest = hashlib.sha256(b"gatentk gates of a sequence 1\n")
            for weight, relu in zip(weights, self.relus, strict=True):
                digest.update(struct.pack("<2Q?", *weight.shape, relu) + f"{weight.dtype}\n".encode())
                values = weight.cpu().contiguous().numpy()
                digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
            known = self._known_fingerprint = state, digest.digest()
        return known[1]

    def activations(self, x: Tensor) -> Iterator[Tensor]:
        """What the ReLUs give, layer by layer, each (n, width), of samples (n, d_in)."""
        z = x
        for psi, relu in zip(self.weights, self.relus, strict=True):
            z = z.to(psi.dtype)
            z = ops.ordered_linear(torch.cat([z, z.new_ones(len(z), 1)], 1), psi, relu=relu)
            if relu:
                yield z

    def gates(self, x: Tensor) -> list[Tensor]:
        """Packed gates of one batch, without checks, layer by layer."""
        # Not z > 0: a sample that is no number has its gates on and shows in the outputs.
        return [ops.pack_bits(z != 0) for z in self.activations(x)]

    def _apply(self, fn: object, recurse: bool = True) -> SequenceGates:
        def keep_dtype(tensor: Tensor) -> Tensor:
            result = fn(tensor)  # type: ignore[operator]
            return cast(Tensor, result if result.dtype == tensor.dtype else tensor.to(result.device))

        super()._apply(keep_dtype, recurse)  # type: ignore[no-untyped-call]
        return self


class GReLUSequential(ConvertibleModule):
    """Gated ReLU network of an `nn.Sequential`: `t_k = D_k (W_k t_{k-1} + b_k)` with gates D_k that stay as they are.

    The gates are those that ReLU has with the weights and biases at the time of construction; a copy of these becomes
    the gate network. So the outputs are at first those of the sequence, and its parameters are trained under fixed
    gates ([G], Sec. 2, for layers of any widths, with biases). A Linear without a ReLU has no gates. Dropout drops
    activations in training, but changes no gate.

    Args:
        layers: Linear, ReLU, Dropout, Identity, Flatten before them, or sequences of these. It becomes a part of this
            module, not copied; float32 or float64.

    Attributes:
        layers: as given; after training a ReLU network with the trained weights.
        gate_net: the gate network; its dtype and values stay as they are when the network is converted.
        flatten, steps: what `steps_of` says of the layers.
        method: "auto", "masked" or "dense", as in `gatentk.ops.masked_linear`.

    Raises:
        TypeError, ValueError: `layers` is no `nn.Sequential` of float32 or float64.
        UnsupportedModuleError: another module in it, or another order; the message names it.

    >>> import torch
    >>> import gatentk as gt
    >>> hidden = [torch.nn.Linear(4, 30), torch.nn.ReLU(), torch.nn.Linear(30, 20), torch.nn.ReLU()]
    >>> net, x = gt.nn.GReLUSequential(torch.nn.Sequential(*hidden, torch.nn.Linear(20, 3))), torch.randn(5, 4)
    >>> torch.allclose(net(x), net.layers(x), atol=1e-6)
    True
    >>> tables = net.gate_tables(x)
    >>> [table.width for table in tables], torch.equal(net(x[:2], gates=[table[:2] for table in tables]), net(x[:2]))
    ([30, 20], True)
    """

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        if not isinstance(layers, nn.Sequential):
            raise TypeError(f"layers: expected an nn.Sequential, got {describe(layers)}")
        self.flatten, self.steps = steps_of("layers", layers)
        for step in self.steps:
            weight = cast(nn.Linear, layers.get_submodule(step.name)).weight
            if weight.dtype not in FLOATS:
                raise TypeError(f"layers.{step.name}: expected float32 or float64, got {describe(weight)}")
        self.method = "auto"
        self.layers = layers
        self.gate_net = SequenceGates(layers, self.steps)

    def gate_tables(self, x: Tensor) -> list[GateTable]:
        """The gates of the samples x, a table of one layer for each layer with a ReLU: their widths differ.

        Raises:
            TypeError, ValueError: samples that do not fit the network, are not finite or overflow.
        """
        rows = self._rows(x)
        check_finite("x", rows)
        widest = max((psi.shape[1] for psi in self.gate_net.weights), default=1)
        step = max(1, _ACTIVATION_BYTES // (8 * widest))
        parts: list[list[Tensor]] = [[] for _ in self.gate_net.widths]
        with torch.inference_mode(False):
            for start in range(0, max(1, len(rows)), step):
                for k, z in enumerate(self.gate_net.activations(rows[start : start + step].detach())):
                    check_finite(f"activations of layer {k}", z)
                    parts[k].append(ops.pack_bits(z > 0))
            known = zip(parts, self.gate_net.widths, self.gate_net.fingerprints, strict=True)
            return [GateTable(torch.cat(bits)[None], width, fingerprint) for bits, width, fingerprint in known]

    def forward(self, x: Tensor, gates: Sequence[GateTable] | None = None) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in), (n, ...) where the sequence flattens them.

        Args:
            x: samples of the dtype of the weights.
            gates: theirs, as of `gate_tables`, `[table[idx] for table in tables]`; computed on the fly if left out.

        Raises:
            TypeError, ValueError: samples or gates that do not fit the network.
            GateTableError: gates of another network; inside torch.compile this is not noticed.
        """
        t = self._rows(x)
        found = iter(self._gate_layers(t, gates))
        before: GateLayer | None = None
        for step in self.steps:
            linear = cast(nn.Linear, self.layers.get_submodule(step.name))
            gate = next(found) if step.relu else None
            t = ops.masked_linear(t, linear.weight, before, gate, self.method, bias=linear.bias)
            for name in step.dropouts:
                t = self.layers.get_submodule(name)(t)
            before = gate
        return t

    def _rows(self, x: object) -> Tensor:
        first = cast(nn.Linear, self.layers.get_submodule(self.steps[0].name))
        shape = f"(n, ...) of {first.in_features} features" if self.flatten else f"(n, {first.in_features})"
        if not isinstance(x, Tensor):
            raise TypeError(f"x: expected a torch tensor, got {describe(x)}")
        rows = x.flatten(1) if self.flatten and x.dim() > 1 else x
        if rows.dim() != 2 or rows.shape[1] != first.in_features:
            raise ValueError(f"x: expected shape {shape}, got {describe(x)}")
        return rows

    def _gate_layers(self, rows: Tensor, gates: Sequence[GateTable] | None) -> list[GateLayer]:
        widths = self.gate_net.widths
        if gates is None:
            return [GateLayer(bits, width) for bits, width in zip(self.gate_net.gates(rows), widths, strict=True)]
        if not isinstance(gates, (list, tuple)) or not all(isinstance(table, GateTable) for table in gates):
            raise TypeError(f"gates: expected a list of gatentk.gates.GateTable, got {describe(gates)}")
        found = [(table.layers, table.n, table.width, table.block) for table in gates]
        if found != [(1, len(rows), width, 1) for width in widths]:
            sizes = ", ".join(f"(layers={a}, n={n}, width={w}, block={g})" for a, n, w, g in found) or "none"
            raise ValueError(
                f"gates: expected a table of one layer and {len(rows)} samples for each of the widths {widths}, "
                f"got {sizes}"
            )
        if torch.compiler.is_compiling():
            return [GateLayer(table.bits[0], table.width) for table in gates]
        for k, (table, fingerprint) in enumerate(zip(gates, self.gate_net.fingerprints, strict=True)):
            if table.fingerprint not in (None, fingerprint):
                raise GateTableError(
                    f"gates: expected for layer {k} a table of this network, {fingerprint[:12]}..., got one of "
                    f"{table.fingerprint[:12]}...; compute them again by gate_tables(x)"
                )
        return [table.layer(0) for table in gates]
