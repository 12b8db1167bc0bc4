"""A Linear whose products skip the zeros of its input."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from gatentk import ops
from gatentk.checks import FLOATS
from gatentk.ops.autocast import autocast_is_on


class SkippingLinear(nn.Linear):
    """`torch.nn.Linear` that visits only the non-zeros of its input, in its gradients those of theirs.

    Arguments, parameters, state_dict and results are those of `nn.Linear`, results to rounding. Zeros are counted in
    each call, and where skipping them does not pay the product is dense: by what was measured on this processor where
    `method` is "auto". Dense as they are, without a count, are calls for which there are no kernels that skip: tensors
    that are not on the CPU, other dtypes than float32 and float64, vectors without a batch, and under autocast.

    Attributes:
        method: "auto", "masked" or "dense", as in `gatentk.ops.masked_linear`.

    >>> import torch
    >>> from gatentk.nn.skipping import SkippingLinear
    >>> layer, z = SkippingLinear(600, 700), torch.randn(8, 600).relu()
    >>> torch.allclose(layer(z), torch.nn.functional.linear(z, layer.weight, layer.bias), atol=1e-5)
    True
    """

    method: str

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.method = "auto"

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as torch has it)
        """Outputs (..., out_features) of (..., in_features)."""
        weight, bias = self.weight, self.bias
        if self.method == "dense" or not _skippable(input, weight):
            return functional.linear(input, weight, bias)
        return ops.masked_linear(input, weight, method=self.method, bias=bias)


def _skippable(z: Tensor, weight: Tensor) -> bool:
    """Whether there are kernels that skip zeros for a product of these."""
    return (
        z.dim() >= 2
        and z.dtype == weight.dtype
        and z.dtype in FLOATS
        and z.device.type == weight.device.type == "cpu"
        and z.layout == torch.strided
        and not z.is_nested
        and z.shape[-1] == weight.shape[1]
        and not autocast_is_on(z.device)
    )


def skip_from_now_on(layer: nn.Linear) -> None:
    """Make a `SkippingLinear` of a Linear that `is_skippable`, and keeps parameters, hooks, parametrizations, mode."""
    if type(layer) is nn.Linear:
        layer.__class__ = SkippingLinear
    else:
        # torch made this class for the one layer: its properties compute the parameters.
        layer.__class__ = type(type(layer).__name__, (SkippingLinear,), dict(vars(type(layer))))
    cast(SkippingLinear, layer).method = "auto"


def skip_no_more(layer: SkippingLinear) -> None:
    """Make the layer of torch that it was of what `skip_from_now_on` made; nothing else changes."""
    kind = type(layer)
    layer.__class__ = nn.Linear if kind is SkippingLinear else type(kind.__name__, (nn.Linear,), dict(vars(kind)))
    vars(layer).pop("method", None)


def is_skipping(layer: nn.Module) -> bool:
    """Whether `skip_from_now_on` made it; not a subclass of somebody's."""
    kind = type(layer)
    return kind is SkippingLinear or (parametrize.is_parametrized(layer) and kind.__bases__ == (SkippingLinear,))


def is_skippable(layer: nn.Module) -> bool:
    """Whether a module computes what a Linear does: one as torch has it, or with parametrized parameters."""
    if "forward" in vars(layer):
        return False
    return type(layer) is nn.Linear or (parametrize.is_parametrized(layer) and type(layer).__bases__ == (nn.Linear,))
