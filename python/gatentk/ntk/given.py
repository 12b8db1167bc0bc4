"""What finite kernels are given: samples that fit a network, in its own precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gatentk.checks import as_tensor, check_samples, describe


@contextmanager
def own_precision(x: Tensor) -> Iterator[None]:
    """Without autocast: a kernel is of the network in its own dtype, whatever its training steps are computed in."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        with torch.autocast(kind, enabled=False):
            yield
    else:
        yield


def recordable(x: Tensor) -> Tensor:
    """The samples as a tensor that automatic differentiation takes."""
    return x.clone() if x.is_inference() else x


def samples_for(name: str, value: Any, net: nn.Module) -> Tensor:
    """Samples of the dtype and on the device of a network that has something to train, as a tensor.

    Raises:
        TypeError, ValueError: they are not; nothing is trained, or parameters are not initialised.
    """
    samples = as_tensor(name, value, next((p.dtype for p in net.parameters()), None))
    check_samples(name, samples)
    trained = [p for p in net.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("net: expected trainable parameters (requires_grad), found none: its NTK is zero")
    for parameter in net.parameters():
        if is_lazy(parameter):
            raise ValueError("net: expected parameters that are initialised, call it once on samples before")
        if parameter.dtype != samples.dtype or parameter.device != samples.device:
            raise TypeError(
                f"{name}: expected {parameter.dtype} on {parameter.device} as the network's parameters, "
                f"got {describe(samples)}"
            )
    return samples
