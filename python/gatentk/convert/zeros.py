"""Any network with ReLUs made faster without a change of its values: products skip the zeros that ReLUs leave."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from gatentk.checks import describe
from gatentk.convert.tracing import Network, copied, fed_by_relu
from gatentk.nn.skipping import skip_from_now_on


def skip_zeros(model: Network) -> Network:
    """A copy of a network in which every `nn.Linear` that a ReLU feeds skips the exact zeros of its input.

    The same outputs and gradients, to rounding: of each product, what a factor 0 would contribute is left out. Weights
    that are not finite are the exception, for 0 * inf is NaN only where it is computed. Each call counts its zeros;
    where these and what was measured on this processor say that skipping does not pay, the product is dense.

    Which layers are fed by a ReLU is found by `torch.fx`: through `nn.ReLU`, `relu` of torch, `torch.nn.functional` and
    tensors, then through Flatten, Dropout, Identity and whatever else only moves values around. A sum, such as a
    residual connection, has no zeros, nor has LeakyReLU. Tracing only finds layers: the copy runs the `forward` methods
    of the model as they are, so conditions, `train()` and `eval()`, hooks, parametrizations, shared layers and
    torch.compile do what they did.

    Args:
        model: the network. It stays as it is. The copy is independent, with parameters of its own under the same
            names, so that `load_state_dict` goes both ways and an optimizer is made of the copy's parameters. To
            convert a part: `model.head = skip_zeros(model.head)`.

    Returns:
        The copy; layers that skip are `gatentk.nn.skipping.SkippingLinear`, a subclass of `nn.Linear`.

    Warns:
        UserWarning: a layer fed by a ReLU stays dense because it is no plain `nn.Linear` (a subclass, a call of
            `torch.nn.functional.linear`), or there is no layer to change.

    Raises:
        TypeError: `model` is no module, or one that was compiled or scripted; do that after the conversion.
        ValueError: a lazy layer that has no parameters yet.
        UnsupportedModuleError: torch.fx cannot trace the model; the message has the module, the operation and why.

    >>> import torch
    >>> import gatentk as gt
    >>> model = torch.nn.Sequential(torch.nn.Linear(20, 600), torch.nn.ReLU(), torch.nn.Linear(600, 3))
    >>> fast, x = gt.convert.skip_zeros(model), torch.randn(8, 20)
    >>> fast[2]
    SkippingLinear(in_features=600, out_features=3, bias=True)
    >>> torch.allclose(fast(x), model(x), atol=1e-5)
    True
    """
    _check_module(model)
    found = fed_by_relu(model)
    fast = copied(model)
    for name in found.layers:
        layer = fast.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        skip_from_now_on(layer)
    if found.left:
        warnings.warn(f"model: fed by a ReLU, but left dense: {'; '.join(found.left)}", UserWarning, stacklevel=2)
    elif not found.layers:
        warnings.warn("model: no nn.Linear is fed by a ReLU, so there is nothing to skip", UserWarning, stacklevel=2)
    return fast


def _check_module(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got {describe(model)}")
    for name, part in model.named_modules():
        place = f"model.{name}" if name else "model"
        if isinstance(part, torch.jit.ScriptModule):
            raise TypeError(f"{place}: expected a module that runs Python, got a scripted one; script it afterwards")
        if hasattr(part, "_orig_mod"):
            raise TypeError(f"{place}: expected a module that is not compiled; use torch.compile(skip_zeros(model))")
        if isinstance(part, nn.Linear) and isinstance(part.weight, nn.parameter.UninitializedParameter):
            raise ValueError(f"{place}: a lazy layer has no weight yet; call the model once before")
