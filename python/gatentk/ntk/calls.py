"""Calls of a network that leave it, the samples and torch's random numbers as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from gatentk.checks import describe
from gatentk.ntk.alterations import uncompiled

# Samples that are called at once, and of which some are called alone, too.
TOGETHER, ALONE_EVERY = 8, 2


def call(net: nn.Module, rows: Tensor) -> Tensor:
    """The outputs of some samples, which are copied first: forward may write to its input.

    Raises:
        TypeError: the outputs are no tensor, or complex.
        ValueError: forward raises an error.
    """
    try:
        result = net(rows.clone())
    except (MemoryError, torch.OutOfMemoryError, Warning):
        raise
    except Exception as error:
        raise ValueError(
            f"net: its forward fails on samples of shape {tuple(rows.shape)}, {type(error).__name__}: "
            f"{str(error).strip()}{advice(net)}"
        ) from error
    if not isinstance(result, Tensor):
        raise no_rows(result, len(rows))
    if result.is_complex():
        raise TypeError(f"net: expected real outputs, got {describe(result)}; use torch.view_as_real")
    return result


def check_samples_apart(net: nn.Module, x: Tensor) -> int:
    """The number of outputs of a sample.

    Raises:
        TypeError: there is no row of outputs for each sample.
        ValueError: the outputs of a sample are drawn at random or depend on the other samples; they have no kernel.
    """
    with left_as_it_was(net, x) as has_drawn:
        one = call(net, x[:1])
        drawn = has_drawn()
    if drawn:
        raise ValueError(f"net: its forward draws random numbers, so its outputs have no gradient{advice(net)}")
    pair = x[:2] if len(x) > 1 else x[[0, 0]]
    with left_as_it_was(net, x):
        try:
            both = call(net, pair)
        except ValueError:  # made for one sample at a time
            both = one
            pair = x[:1]
    if both.shape[:1] != pair.shape[:1] or both.numel() != len(pair) * one.numel():
        raise no_rows(both, len(pair))
    if one.numel() and _differ(one, both[0], both):
        raise ValueError(f"net: the outputs of a sample depend on the other samples{advice(net)}")
    return one.numel()


def check_differentiable(outputs: Tensor) -> None:
    """Refuse outputs of a recorded call that have no gradient at all."""
    if not outputs.requires_grad:
        raise ValueError("net: its outputs have no gradient by its parameters; its forward cuts it off")


def depend_on_others(net: nn.Module, x: Tensor) -> bool:
    """Whether a sample's outputs are others when it is called alone.

    `check_samples_apart` sees batch statistics; a network that branches on all samples shows it in some of them only.
    """
    rows = x[:TOGETHER]
    with left_as_it_was(net, x):
        try:
            together = call(net, rows)
        except ValueError:  # made for one sample at a time
            return len(rows) > 1
    if together.shape[:1] != rows.shape[:1] or not together.numel():
        return bool(together.numel())
    for row in range(0, len(rows), ALONE_EVERY):
        with left_as_it_was(net, x):
            alone = call(net, rows[row : row + 1])
        if _differ(alone, together[row], together):
            return True
    return False


def _differ(alone: Tensor, beside: Tensor, together: Tensor) -> bool:
    # Far above the rounding of products of other shapes, far below what batch statistics change.
    tolerance = torch.finfo(together.dtype).eps ** 0.25 * together.abs().max()
    return bool((alone.flatten() - beside.flatten()).abs().max() > tolerance)


def no_rows(result: object, rows: int) -> TypeError:
    """What to raise where a network gives something else than a row of outputs for each sample."""
    return TypeError(
        f"net: expected one tensor with a row for each sample, got {describe(result)} for {rows} sample(s)"
    )


def advice(net: nn.Module) -> str:
    """What to do about a network that is in train mode, as the end of a sentence."""
    if not net.training and not any(module.training for module in net.modules()):
        return ""
    for name, module in net.named_modules():
        if module.training and isinstance(module, (_DropoutNd, _BatchNorm)):
            return f"; {name or 'net'} ({type(module).__name__}) is in train mode, call net.eval() first"
    return "; it is in train mode, call net.eval() first if that changes its outputs"


@contextmanager
def left_as_it_was(net: nn.Module, x: Tensor) -> Iterator[Any]:
    """Undo whatever calls inside write to parameters, buffers and other tensors that modules hold, or draw.

    Yields:
        A function that says whether random numbers of torch were drawn so far.
    """
    places: list[dict[str, Any]] = [
        place
        for module in net.modules()
        for place in (module._parameters, module._buffers, vars(module))
        if isinstance(place, dict)  # those of torch.jit hold nothing themselves
    ]
    before = [{key: value for key, value in place.items() if isinstance(value, Tensor)} for place in places]
    tensors = [*net.parameters(), *net.buffers(), *(tensor for kept in before for tensor in kept.values())]
    dense = {id(tensor): tensor for tensor in tensors if tensor.layout == torch.strided and not tensor.is_meta}
    values = [(tensor, tensor.detach().clone()) for tensor in dense.values()]
    with torch.random.fork_rng([x.device] if x.is_cuda else []), as_not_compiled(net):
        states = _random_states(x)
        try:
            yield lambda: not all(map(torch.equal, states, _random_states(x)))
        finally:
            for place, kept in zip(places, before, strict=True):
                for key in [key for key, value in place.items() if isinstance(value, Tensor) and key not in kept]:
                    del place[key]
                for key, tensor in kept.items():
                    if place.get(key) is not tensor:
                        place[key] = tensor
            with torch.no_grad():
                for tensor, value in values:
                    if not torch.equal(tensor, value):
                        tensor.copy_(value)


def _random_states(x: Tensor) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(x.device)] if x.is_cuda else [])]


def as_not_compiled(net: nn.Module) -> AbstractContextManager[Any]:
    """Compiled modules compute the same without being compiled, and need not be compiled anew for other shapes."""
    for module in net.modules():
        if module._compiled_call_impl is not None or uncompiled(module) is not module:
            eager: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
            return eager
    return nullcontext()
