"""The modules of a sequence as plain values, and a sequence without weights of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from gatentk.checks import check_choice, check_integer
from gatentk.errors import UnsupportedModuleError
from gatentk.nn.skipping import SkippingLinear
from gatentk.ops import METHODS
from gatentk.runs.plain import ABSENT, Absent


@dataclass(frozen=True)
class PartConfiguration:
    """Of a module in a sequence.

    Attributes:
        name: as of `named_modules`, with dots in sequences of sequences.
        kind: its class.
        others: what a module of this class has.
    """

    name: str
    kind: str
    in_features: int | Absent = ABSENT
    out_features: int | Absent = ABSENT
    bias: bool | Absent = ABSENT
    method: str | Absent = ABSENT
    p: float | Absent = ABSENT
    inplace: bool | Absent = ABSENT
    training: bool | Absent = ABSENT


_LINEAR = "in_features", "out_features", "bias"
_OPTIONS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Sequential: (),
    nn.Linear: _LINEAR,
    SkippingLinear: (*_LINEAR, "method"),
    nn.ReLU: ("inplace",),
    nn.Dropout: ("p", "inplace", "training"),
    nn.Identity: (),
    nn.Flatten: (),
}
_KINDS = {kind.__name__: kind for kind in _OPTIONS}


def parts_of(name: str, layers: nn.Sequential) -> list[PartConfiguration]:
    """The modules in a sequence, each sequence before those in it.

    Args:
        name: of the sequence in a message.
        layers: as `steps_of` takes them.

    Raises:
        UnsupportedModuleError: a subclass of a module of torch; the message names it.
        ValueError: layers that share a weight.
    """
    found = []
    # With duplicates: a ReLU that is used twice is two modules.
    for place, part in layers.named_modules(remove_duplicate=False):
        kind = type(part)
        if kind not in _OPTIONS:
            where = f"{name}.{place}" if place else name
            raise UnsupportedModuleError(f"{where}: expected one of {', '.join(_KINDS)}, no subclass, got {part}")
        if place:
            found.append(PartConfiguration(place, kind.__name__, **{key: _value(part, key) for key in _OPTIONS[kind]}))
    names = dict[int, str]()
    for place, parameter in layers.named_parameters(remove_duplicate=False):
        if (first := names.setdefault(id(parameter), place)) != place:
            raise ValueError(f"{name}: expected layers that share no weights, got one that is {first} and {place}")
    return found


def _value(part: nn.Module, key: str) -> Any:
    return part.bias is not None if key == "bias" else getattr(part, key)


def sequence_of(parts: Sequence[PartConfiguration], dtype: torch.dtype) -> nn.Sequential:
    """A sequence of modules whose weights have no values yet.

    Raises:
        TypeError, ValueError: values that no module has, names that are there twice or in no sequence.
    """
    layers = nn.Sequential()
    sequences = {"": layers}
    for part in parts:
        owner, _, last = part.name.rpartition(".")
        if owner not in sequences or last in sequences[owner]._modules:
            raise ValueError(f"layers: expected names that are there once, and in a Sequential, got {part.name!r:.60}")
        module = _built(part, dtype)
        try:
            sequences[owner].add_module(last, module)
        except KeyError as error:  # torch refuses names such as "forward"
            raise ValueError(f"layers: {error.args[0]}") from error
        if isinstance(module, nn.Sequential):
            sequences[part.name] = module
    return layers


def _built(part: PartConfiguration, dtype: torch.dtype) -> nn.Module:
    kind = _KINDS[check_choice("kind", part.kind, tuple(_KINDS))]
    values = {field.name: getattr(part, field.name) for field in fields(part)[2:]}
    given = {key: value for key, value in values.items() if value is not ABSENT}
    if given.keys() != set(_OPTIONS[kind]):
        wanted, found = (", ".join(sorted(keys)) or "nothing" for keys in (_OPTIONS[kind], given))
        raise ValueError(f"layers: {part.name}: expected {wanted} of a {part.kind}, got {found}")
    training, method = given.pop("training", True), given.pop("method", None)
    if issubclass(kind, nn.Linear):
        for key in ("in_features", "out_features"):
            check_integer(key, given[key], 1)
        module: nn.Module = kind(**given, dtype=dtype, device="meta")
    else:
        if not 0 <= given.get("p", 0) <= 1:  # no number, too, which torch takes
            raise ValueError(f"p: expected a number from 0 to 1, got {given['p']}")
        module = kind(**given)
    if isinstance(module, SkippingLinear):
        module.method = check_choice("method", method, METHODS)
    return module.train(training)
