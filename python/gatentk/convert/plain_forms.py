"""Networks and layers of gatentk as modules of plain torch operations, for every tool that takes those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from gatentk.checks import describe
from gatentk.convert.plain import (
    PlainGatedLinear,
    PlainGReLULinear,
    PlainGReLUNetwork,
    PlainGReLUSequential,
    PlainLowRankGated,
)
from gatentk.convert.predicted_gates import LowRankGated, PredictedGates
from gatentk.convert.predicted_sequences import LowRankSequential
from gatentk.convert.sequences import check_unchanged
from gatentk.convert.tracing import copied
from gatentk.errors import UnsupportedModuleError
from gatentk.gates import GateNetwork
from gatentk.nn import MLP, GatedLinear, GReLULinear, GReLUNetwork, GReLUSequential, ReLUNetwork
from gatentk.nn.sequential import SequenceGates
from gatentk.nn.skipping import SkippingLinear, is_skipping, skip_no_more
from gatentk.ntk.alterations import alteration


def to_torch(net: nn.Module) -> nn.Module:
    """A copy of a network in plain torch operations: for ONNX, torch.export, AOTInductor, and where gatentk is missing.

    A `ReLUNetwork` or `MLP` becomes an `nn.Sequential` of Linear and ReLU; the factors of an `MLP` go into its weights.
    A `GReLUNetwork` becomes a module whose `forward(x)` computes gates by plain products, and whose `forward(x, masks)`
    takes them as `table.to_bool()` has them; a `GReLUSequential` one that takes a list of masks,
    `[table.to_bool()[0] for table in net.gate_tables(x)]`. In any other module those inside it are replaced, a
    `GatedLinear` or `GReLULinear` by one that takes masks, too, and what `skip_zeros` made by the `nn.Linear` that it
    was. Weights of gated modules have the names they had: a state_dict fits both.

    Outputs agree to rounding for given gates; for `forward(x)` where no gate's sum is within rounding of zero. Nothing
    is skipped: it takes the time of dense products.

    Args:
        net: the network, which stays as it is and shares nothing with the copy.

    Raises:
        TypeError: `net` is no module.
        UnsupportedModuleError: a part of it has no plain form, or hooks, replaced methods or the like change what it
            computes; the message names the part.

    >>> import torch
    >>> import gatentk as gt
    >>> x = torch.eye(4, dtype=torch.float64)
    >>> gt.convert.to_torch(gt.nn.ReLUNetwork(4, 64, 1))
    Sequential(
      (0): Linear(in_features=4, out_features=64, bias=False)
      (1): ReLU()
      (2): Linear(in_features=64, out_features=64, bias=False)
      (3): ReLU()
      (4): Linear(in_features=64, out_features=1, bias=False)
    )
    >>> net = gt.nn.GReLUNetwork(4, 64, 2, dtype=torch.float64)
    >>> plain, table = gt.convert.to_torch(net), net.gate_table(x)
    >>> torch.allclose(plain(x, table.to_bool()), net(x, table)), torch.allclose(plain(x), net(x))
    (True, True)
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected a torch.nn.Module, got {describe(net)}")
    for name, part in net.named_modules():
        _check_convertible(f"net.{name}" if name else "net", part)
    return _converted(copied(net), {})


def _check_convertible(place: str, part: nn.Module) -> None:
    """Refuse parts that are gatentk's own and have no plain form, or that were changed."""
    if is_skipping(part) or not any(map(_is_own, type(part).__mro__)):
        return
    if type(part) not in (*_PLAIN_FORMS, *_CONTAINED):
        names = ", ".join(kind.__name__ for kind in _PLAIN_FORMS)
        raise UnsupportedModuleError(
            f"{place}: {type(part).__name__} has no form in plain torch operations; {names} have one, but for "
            "subclasses and parametrized ones"
        )
    if changed := alteration(part):
        raise UnsupportedModuleError(
            f"{place}: {type(part).__name__}{changed} may compute something else than its weights say; convert it "
            "without that"
        )
    if isinstance(part, GReLUSequential):
        check_unchanged(f"{place}.layers", part.layers, part.flatten, part.steps)
    elif isinstance(part, LowRankSequential):
        check_unchanged(f"{place}.net", part.net, part.flatten, part.steps)


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "gatentk" and kind.__module__ != PlainGReLUNetwork.__module__


def _converted(part: nn.Module, done: dict[int, nn.Module]) -> nn.Module:
    """The plain form of a copied part; the same one where a part is used several times."""
    if id(part) not in done:
        if isinstance(part, SkippingLinear):
            skip_no_more(part)
        form = _PLAIN_FORMS.get(type(part))
        if form is None:
            done[id(part)] = part
            for name, child in part._modules.items():
                part._modules[name] = None if child is None else _converted(child, done)
        else:
            modes = [(child, child.training) for child in part.modules()]
            done[id(part)] = form(part).train(part.training)
            for child, mode in modes:
                child.training = mode  # of those that the plain form goes on with, such as Dropout
    return done[id(part)]


def _relu_network(net: ReLUNetwork) -> nn.Module:
    layers = _with_relu([net.input_weight, *net.weights])
    return nn.Sequential(*(layers if net.last_relu else layers[:-1]), _linear(net.output_weight))


def _mlp(net: MLP) -> nn.Module:
    # relu(a z) = a relu(z): the factor behind an activation is as well one of the weight before it.
    *hidden, last = net.weights
    scaled = [nn.Parameter(net.scale * weight.detach(), weight.requires_grad) for weight in hidden]
    layers = _with_relu(scaled) if net.activation == "relu" else map(_linear, scaled)
    return nn.Sequential(*layers, _linear(last))


def _with_relu(weights: Sequence[Tensor]) -> list[nn.Module]:
    return [layer for weight in weights for layer in (_linear(weight), nn.ReLU())]


def _linear(weight: Tensor) -> nn.Linear:
    rows, columns = weight.shape
    layer = nn.Linear(columns, rows, bias=False, device="meta")
    layer.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight, requires_grad=False)
    return layer


def _grelu_network(net: GReLUNetwork) -> nn.Module:
    sizes = net.d_in, net.width, net.depth, net.d_out
    plain = PlainGReLUNetwork(*sizes, **_form(net.gate_net), train_ends=net.train_ends, device="meta")
    return _with_tensors_of(net, plain)


def _gated_linear(layer: GatedLinear) -> nn.Module:
    sizes = layer.in_features, layer.out_features, layer.bias is not None
    gates = layer.gate_net
    plain = PlainGatedLinear(
        *sizes, **_form(gates), gate_features=layer.gate_features, gate_depth=gates.depth, device="meta"
    )
    return _with_tensors_of(layer, plain)


def _grelu_linear(layer: GReLULinear) -> nn.Module:
    return _with_tensors_of(layer, PlainGReLULinear(layer.in_features, layer.out_features, device="meta"))


def _grelu_sequential(net: GReLUSequential) -> nn.Module:
    plain = PlainGReLUSequential(_without_skipping(net.layers), device="meta")
    return _with_tensors_of(net, plain)


def _without_skipping(layers: nn.Sequential) -> nn.Sequential:
    return cast(nn.Sequential, _converted(layers, {}))


def _low_rank(fast: LowRankGated) -> nn.Module:
    form = _PLAIN_FORMS[type(fast.net)](fast.net)
    assert isinstance(form, (PlainGReLUNetwork, nn.Sequential))
    return PlainLowRankGated(form, _factors(fast))


def _low_rank_sequential(fast: LowRankSequential) -> nn.Module:
    return PlainLowRankGated(_without_skipping(fast.net), _factors(fast))


def _factors(fast: PredictedGates) -> dict[int, tuple[Tensor, Tensor]]:
    layers = [int(name[2:]) for name, _ in fast.named_buffers(recurse=False) if name.startswith("u_")]
    return {k: (fast.get_buffer(f"u_{k}"), fast.get_buffer(f"v_{k}")) for k in layers}


def _form(gates: GateNetwork) -> dict[str, Any]:
    return {"block": gates.block, "kind": gates.kind, "centered": gates.center is not None}


def _with_tensors_of(part: nn.Module, plain: nn.Module) -> nn.Module:
    """A plain module on the meta device with the parameters and buffers of a part, which are not copied."""
    given, expected = part.state_dict(keep_vars=True), plain.state_dict()
    if {name: tensor.shape for name, tensor in given.items()} != {
        name: tensor.shape for name, tensor in expected.items()
    }:
        raise UnsupportedModuleError(f"net: {type(part).__name__} has other weights than its sizes say")
    for name, tensor in given.items():
        owner, _, last = name.rpartition(".")
        module = plain.get_submodule(owner)
        (module._parameters if last in module._parameters else module._buffers)[last] = tensor
    return plain


_PLAIN_FORMS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    MLP: _mlp,
    ReLUNetwork: _relu_network,
    GReLUNetwork: _grelu_network,
    GReLULinear: _grelu_linear,
    GatedLinear: _gated_linear,
    LowRankGated: _low_rank,
    GReLUSequential: _grelu_sequential,
    LowRankSequential: _low_rank_sequential,
}
# Parts of those, converted with them.
_CONTAINED = (GateNetwork, SequenceGates)
