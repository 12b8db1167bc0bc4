"""A network as a chain of stages, each a matrix product or an elementwise map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from gatentk.activations import ACTIVATIONS, Activation
from gatentk.errors import UnsupportedModuleError
from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork


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


def stages(net: nn.Module) -> list[Stage]:
    """The chain of stages of a network.

    Raises:
        UnsupportedModuleError: a part of the network has no stage; the message names it.
    """
    if type(net) in (MLP, GReLUNetwork, ReLUNetwork) and _hooked(net):
        raise _unsupported("net", net, " with hooks")
    if type(net) is MLP:
        activation = ActivationStage(net.scale, ACTIVATIONS[net.activation])
        chain = [stage for weight in list(net.weights)[:-1] for stage in (LinearStage(weight, None), activation)]
        return [*chain, LinearStage(net.weights[-1], None)]
    if type(net) is GReLUNetwork or type(net) is ReLUNetwork:
        return _fixed_ends_stages(net)
    if type(net) is nn.Sequential:
        return [stage for name, part in _parts(net, "") for stage in _part_stages(name, part)]
    raise _unsupported("net", net)


def _fixed_ends_stages(net: GReLUNetwork | ReLUNetwork) -> list[Stage]:
    """C, W_1 .. W_L, B with gates or ReLUs between them; C and B are no parameters and count for nothing."""
    matrices = [net.input_weight.detach(), *net.weights, net.output_weight.detach()]
    chain: list[Stage] = []
    for layer, weight in enumerate(matrices[:-1]):
        chain += [LinearStage(weight, None), GateStage(net, layer) if isinstance(net, GReLUNetwork) else RELU]
    if isinstance(net, ReLUNetwork) and not net.last_relu:
        chain.pop()
    return [*chain, LinearStage(matrices[-1], None)]


def _parts(net: nn.Sequential, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    if _hooked(net):
        raise _unsupported(prefix.rstrip(".") or "net", net, " with hooks")
    for index, part in enumerate(net):
        name = f"{prefix}{index}"
        if type(part) is nn.Sequential:
            yield from _parts(part, f"{name}.")
        else:
            yield name, part


def _part_stages(name: str, part: nn.Module) -> list[Stage]:
    if _hooked(part):
        raise _unsupported(name, part, " with hooks")
    if type(part) is nn.Linear:
        return [LinearStage(part.weight, part.bias)]
    if type(part) is nn.ReLU:
        return [RELU]
    if type(part) is nn.Identity:
        return []
    raise _unsupported(name, part)


def _hooked(part: nn.Module) -> bool:
    return bool(part._forward_hooks or part._forward_pre_hooks)


def _unsupported(name: str, part: nn.Module, detail: str = "") -> UnsupportedModuleError:
    return UnsupportedModuleError(
        f"{name}: no layerwise NTK for {type(part).__name__}{detail}; known are MLP, GReLUNetwork and ReLUNetwork of "
        'gatentk.nn and nn.Sequential of Linear, ReLU and Identity. Use method="jacobian" for any other module'
    )
