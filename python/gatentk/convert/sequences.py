"""Which `nn.Sequential` networks are converted: of plain layers, unchanged, with finite weights."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from gatentk.checks import FLOATS, check_finite, describe
from gatentk.errors import UnsupportedModuleError
from gatentk.nn.sequential import Step, check_steps, steps_of
from gatentk.ntk.alterations import alteration, parameter_alteration


def check_plain(name: str, model: nn.Sequential) -> tuple[bool, tuple[Step, ...]]:
    """What `steps_of` says of a network whose layers compute what their classes say.

    Args:
        name: of the network in a message.
        model: the network.

    Raises:
        UnsupportedModuleError: a module that is none of these, or changed by hooks, replaced methods, parametrizations.
        TypeError, ValueError: weights that are not float32 or float64, of different dtypes, or not finite; no Linear.
    """
    flatten, steps = steps_of(name, model)
    _check_unaltered(name, model)
    linears = {step.name: cast(nn.Linear, model.get_submodule(step.name)) for step in steps}
    dtype = linears[steps[0].name].weight.dtype
    for place, linear in linears.items():
        for kind, value in linear.named_parameters():
            if value.dtype not in FLOATS or value.dtype != dtype:
                wanted = dtype if dtype in FLOATS else "float32 or float64"
                raise TypeError(f"{name}.{place}.{kind}: expected {wanted}, got {describe(value)}; use {name}.float()")
            with torch.no_grad():
                check_finite(f"{name}.{place}.{kind}", value.detach())
    return flatten, steps


def check_unchanged(name: str, model: nn.Sequential, flatten: bool, steps: tuple[Step, ...]) -> None:
    """Refuse a network whose layers compute something else than when its steps were found.

    Args:
        name: of the network in a message.
        model: the network.
        flatten, steps: what `steps_of` said of it.

    Raises:
        UnsupportedModuleError: other modules, or hooks, replaced methods, parametrizations; the message names them.
    """
    check_steps(name, model, flatten, steps)
    _check_unaltered(name, model)


def _check_unaltered(name: str, model: nn.Sequential) -> None:
    for place, part in model.named_modules():
        changed = alteration(part)
        if isinstance(part, nn.Linear):
            changed = changed or parameter_alteration(part, "weight") or parameter_alteration(part, "bias")
        if changed:
            where = f"{name}.{place}" if place else name
            raise UnsupportedModuleError(
                f"{where}: {type(part).__name__}{changed} may compute something else than its weights say; convert the "
                "network without that"
            )
