"""A network as a chain of stages, each a matrix product or an elementwise map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from gatentk.activations import ACTIVATIONS, Activation
from gatentk.errors import UnsupportedModuleError
from gatentk.gates import GateNetwork
from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork
from gatentk.nn.skipping import SkippingLinear
from gatentk.ntk.alterations import alteration, buffer_alteration, parameter_alteration, uncompiled


@dataclass
class LinearStage:
    """A -> A W^T + b."""

    weight: Tensor
    bias: Tensor | None


@dataclass
class ActivationStage:
    """A -> scale f(A), elementwise."""

    scale: float
    activation: Activation


@dataclass
class GateStage:
    """A -> D_layer A, with the gates that the network's gate network gives the samples."""

    net: GReLUNetwork
    layer: int


RELU = ActivationStage(1.0, ACTIVATIONS["relu"])

Stage = LinearStage | ActivationStage | GateStage


def stages_of(net: nn.Module) -> list[Stage]:
    """The chain of stages of a network.

    Raises:
        UnsupportedModuleError: a part of the network has no stage; the message names it.
    """
    inner = uncompiled(net)
    if inner is not net:
        _check("net", net, alteration(net))
        return stages_of(inner)
    if type(net) is MLP:
        _check_as_built(net)
        activation = ActivationStage(net.scale, ACTIVATIONS[net.activation])
        chain = [stage for weight in list(net.weights)[:-1] for stage in (LinearStage(weight, None), activation)]
        return [*chain, LinearStage(net.weights[-1], None)]
    if type(net) is GReLUNetwork or type(net) is ReLUNetwork:
        return _fixed_ends_stages(net)
    if type(net) is nn.Sequential:
        return [stage for name, part in _parts(net, "") for stage in _part_stages(name, part)]
    raise _unsupported("net", net)


def _fixed_ends_stages(net: GReLUNetwork | ReLUNetwork) -> list[Stage]:
    """C, W_1 .. W_L, B with gates or ReLUs between them; C and B count where they are trained."""
    _check_as_built(net)
    ends = [net.input_weight, net.output_weight]
    first, last = ends if net.train_ends else [end.detach() for end in ends]
    matrices = [first, *net.weights, last]
    chain: list[Stage] = []
    for layer, weight in enumerate(matrices[:-1]):
        chain += [LinearStage(weight, None), GateStage(net, layer) if isinstance(net, GReLUNetwork) else RELU]
    if isinstance(net, ReLUNetwork) and not net.last_relu:
        chain.pop()
    return [*chain, LinearStage(matrices[-1], None)]


def _check_as_built(net: MLP | GReLUNetwork | ReLUNetwork) -> None:
    """Refuse a network of this package that computes something else than its class does."""
    _check("net", net, alteration(net))
    if type(net.weights) is not nn.ParameterList:
        raise _unsupported("net.weights", net.weights)
    _check("net.weights", net.weights, alteration(net.weights))
    for name in net.weights._parameters:
        _check(f"net.weights.{name}", net, parameter_alteration(net.weights, name))
    if isinstance(net, MLP):
        return
    for name in ("input_weight", "output_weight"):
        _check("net", net, (parameter_alteration if net.train_ends else buffer_alteration)(net, name))
    if isinstance(net, GReLUNetwork):
        if type(net.gate_net) is not GateNetwork:
            raise _unsupported("net.gate_net", net.gate_net)
        _check("net.gate_net", net.gate_net, alteration(net.gate_net))


def _check(name: str, part: nn.Module, changed: str) -> None:
    if changed:
        raise _unsupported(name, part, changed)


def _parts(net: nn.Sequential, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    _check(prefix.rstrip(".") or "net", net, alteration(net))
    for index, part in enumerate(net):
        name = f"{prefix}{index}"
        if type(part) is nn.Sequential:
            yield from _parts(part, f"{name}.")
        else:
            yield name, part


def _part_stages(name: str, part: nn.Module) -> list[Stage]:
    _check(name, part, alteration(part))
    if type(part) is nn.Linear or type(part) is SkippingLinear:
        _check(name, part, parameter_alteration(part, "weight") or parameter_alteration(part, "bias"))
        return [LinearStage(part.weight, part.bias)]
    if type(part) is nn.ReLU:
        return [RELU]
    if type(part) is nn.Identity:
        return []
    raise _unsupported(name, part)


def _unsupported(name: str, part: nn.Module, detail: str = "") -> UnsupportedModuleError:
    return UnsupportedModuleError(
        f"{name}: no layerwise NTK for {type(part).__name__}{detail}; known are MLP, GReLUNetwork and ReLUNetwork of "
        'gatentk.nn and nn.Sequential of Linear, ReLU and Identity. Use method="jacobian" for any other module'
    )
