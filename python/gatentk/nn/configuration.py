"""What networks are but for their weights: plain values from which the same ones are built."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from gatentk.checks import check_choice
from gatentk.gates import GateNetwork
from gatentk.nn.gated import GReLUNetwork
from gatentk.nn.gated_linear import GatedLinear
from gatentk.nn.mlp import MLP
from gatentk.nn.relu import ReLUNetwork
from gatentk.nn.sequence_parts import PartConfiguration, parts_of, sequence_of
from gatentk.nn.sequential import GReLUSequential, SequenceGates, check_steps
from gatentk.ops import METHODS

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.float32, torch.float64, torch.bfloat16)}


@dataclass(frozen=True)
class GateConfiguration:
    """Of a gate network, with the fingerprint of its weights."""

    block: int
    kind: str
    centred: bool
    dtype: str
    fingerprint: str

    @staticmethod
    def of(gates: GateNetwork) -> GateConfiguration:
        """That of a gate network."""
        centred = gates.center is not None
        return GateConfiguration(gates.block, gates.kind, centred, _name(gates.input_weight), gates.fingerprint)

    def options(self, d_in: int) -> dict[str, Any]:
        """Arguments of a gate network without values."""
        center = torch.empty(d_in, device="meta") if self.centred else None
        return {"block": self.block, "kind": self.kind, "center": center, "device": "meta"}


@dataclass(frozen=True)
class MLPConfiguration:
    """Of an `MLP`."""

    d_in: int
    width: int
    depth: int
    d_out: int
    activation: str
    dtype: str

    def build(self) -> nn.Module:
        """One without values."""
        sizes = self.d_in, self.width, self.depth, self.d_out
        return MLP(*sizes, self.activation, dtype=_drawn(self.dtype), device="meta")


@dataclass(frozen=True)
class ReLUConfiguration:
    """Of a `ReLUNetwork`."""

    d_in: int
    width: int
    depth: int
    d_out: int
    last_relu: bool
    train_ends: bool
    method: str
    dtype: str

    def build(self) -> nn.Module:
        """One without values."""
        sizes = self.d_in, self.width, self.depth, self.d_out
        drawn = _drawn(self.dtype)
        net = ReLUNetwork(*sizes, self.last_relu, dtype=drawn, device="meta", train_ends=self.train_ends)
        return _with_method(net, self.method)


@dataclass(frozen=True)
class GReLUConfiguration:
    """Of a `GReLUNetwork`."""

    d_in: int
    width: int
    depth: int
    d_out: int
    train_ends: bool
    method: str
    dtype: str
    gates: GateConfiguration

    def build(self) -> nn.Module:
        """One without values."""
        sizes = self.d_in, self.width, self.depth
        gates = GateNetwork(*sizes, dtype=_drawn(self.gates.dtype), **self.gates.options(self.d_in))
        drawn = _drawn(self.dtype)
        net = GReLUNetwork(*sizes, self.d_out, gates, dtype=drawn, device="meta", train_ends=self.train_ends)
        return _with_method(net, self.method)


@dataclass(frozen=True)
class GatedLinearConfiguration:
    """Of a `GatedLinear`."""

    in_features: int
    out_features: int
    bias: bool
    gate_features: int
    method: str
    dtype: str
    gates: GateConfiguration

    def build(self) -> nn.Module:
        """One without values."""
        layer = GatedLinear(
            self.in_features,
            self.out_features,
            self.bias,
            gate_features=self.gate_features,
            dtype=_drawn(self.dtype),
            **self.gates.options(self.gate_features),
        )
        return _with_method(layer, self.method)


@dataclass(frozen=True)
class SequenceGateConfiguration:
    """Of the gate network of a `GReLUSequential`, with the fingerprint of its weights."""

    dtype: str
    fingerprint: str


@dataclass(frozen=True)
class GReLUSequentialConfiguration:
    """Of a `GReLUSequential`."""

    layers: list[PartConfiguration]
    method: str
    dtype: str
    gates: SequenceGateConfiguration

    def build(self) -> nn.Module:
        """One without values."""
        _drawn(self.gates.dtype)
        net = GReLUSequential(sequence_of(self.layers, DTYPES[_drawn(self.dtype)]))
        return _with_method(net, self.method)


Configuration = (
    MLPConfiguration | ReLUConfiguration | GReLUConfiguration | GatedLinearConfiguration | GReLUSequentialConfiguration
)

CONFIGURATIONS: dict[type[nn.Module], type[Configuration]] = {
    MLP: MLPConfiguration,
    ReLUNetwork: ReLUConfiguration,
    GReLUNetwork: GReLUConfiguration,
    GatedLinear: GatedLinearConfiguration,
    GReLUSequential: GReLUSequentialConfiguration,
}


def configuration(net: nn.Module) -> Configuration:
    """That of a network whose class is one of `CONFIGURATIONS`.

    Raises:
        TypeError, ValueError: a sequence with other modules than it was made of, or those that have no plain values.
    """
    kind = CONFIGURATIONS[type(net)]
    special: dict[str, Any] = {"dtype": _name(next(net.parameters()))}
    if isinstance(net, (GReLUNetwork, GatedLinear)):
        special["gates"] = GateConfiguration.of(net.gate_net)
    if isinstance(net, GatedLinear):
        special["bias"] = net.bias is not None
    if isinstance(net, GReLUSequential):
        check_steps("net.layers", net.layers, net.flatten, net.steps)
        special["layers"] = parts_of("net.layers", net.layers)
        gates = net.gate_net
        dtype = _name(gates.weights[0]) if gates.weights else special["dtype"]
        special["gates"] = SequenceGateConfiguration(dtype, gates.fingerprint)
    names = [field.name for field in fields(kind)]
    return kind(**{name: special[name] if name in special else getattr(net, name) for name in names})


def gate_network(net: nn.Module) -> GateNetwork | SequenceGates | None:
    """That of a network, if its class has one."""
    return net.gate_net if isinstance(net, (GReLUNetwork, GatedLinear, GReLUSequential)) else None


def expected(config: Configuration, built: nn.Module) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Dtype and shape of every tensor that a network of a configuration has."""
    gates = getattr(config, "gates", None)
    return {
        name: (DTYPES[gates.dtype if gates and name.startswith("gate_net.") else config.dtype], tuple(tensor.shape))
        for name, tensor in built.state_dict().items()
    }


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _drawn(dtype: str) -> str:
    """The dtype that networks are made in; others come with their weights."""
    check_choice("dtype", dtype, tuple(DTYPES))
    return "float32" if dtype == "bfloat16" else dtype


def _with_method(net: Any, method: str) -> nn.Module:
    net.method = check_choice("method", method, METHODS)
    module: nn.Module = net
    return module
