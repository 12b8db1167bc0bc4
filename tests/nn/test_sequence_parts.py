"""Sequences from plain values: the same modules with the same names and modes."""

import json
from dataclasses import replace

import pytest
import torch
from cases.deployed import SEQUENCES_OF_LAYERS, with_dropout_and_names
from cases.sequences import SEQUENCES, sequence
from torch import nn
from torch.nn.utils import parametrize

from gatentk.errors import UnsupportedModuleError
from gatentk.nn.sequence_parts import PartConfiguration, parts_of, sequence_of
from gatentk.runs.plain import from_json, to_json

BUILDERS = {**SEQUENCES, **SEQUENCES_OF_LAYERS}


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sequence_is_built_from_its_parts(name, dtype):
    layers = BUILDERS[name]().to(dtype)
    written = json.dumps(to_json(parts_of("net", layers)))
    built = sequence_of(from_json(list[PartConfiguration], json.loads(written), "parts"), dtype)
    assert repr(built) == repr(layers)
    modules, same = dict(layers.named_modules()), dict(built.named_modules())
    assert {key: type(part) for key, part in same.items()} == {key: type(part) for key, part in modules.items()}
    for key, part in modules.items():
        if isinstance(part, nn.Dropout):
            assert same[key].training == part.training
        assert getattr(same[key], "method", None) == getattr(part, "method", None)
    shapes = {key: (value.shape, value.dtype) for key, value in layers.state_dict().items()}
    assert {key: (value.shape, value.dtype) for key, value in built.state_dict().items()} == shapes
    assert all(value.is_meta for value in built.state_dict().values())


def test_a_module_that_is_used_twice_is_two():
    act = nn.ReLU()
    parts = parts_of("net", nn.Sequential(nn.Linear(3, 4), act, nn.Linear(4, 5), act))
    assert [(part.name, part.kind) for part in parts] == [
        ("0", "Linear"),
        ("1", "ReLU"),
        ("2", "Linear"),
        ("3", "ReLU"),
    ]


def test_only_values_that_a_module_has_are_written():
    assert to_json(parts_of("net", nn.Sequential(nn.Linear(3, 4, False), nn.Dropout(0.25), nn.Flatten()))) == [
        {"name": "0", "kind": "Linear", "in_features": 3, "out_features": 4, "bias": False},
        {"name": "1", "kind": "Dropout", "p": 0.25, "inplace": False, "training": True},
        {"name": "2", "kind": "Flatten"},
    ]


class Own(nn.Sequential):
    pass


def shared():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), nn.Sequential(layer))


def tied():
    layers = sequence("no biases")
    layers[4].weight = layers[0].weight
    return layers


def parametrized():
    layers = sequence("biases")
    parametrize.register_parametrization(layers[2], "weight", nn.Tanh())
    return layers


@pytest.mark.parametrize(
    ("error", "message", "build"),
    [
        (UnsupportedModuleError, r"^net: expected one of Sequential, .*, no subclass, got Own\(", lambda: Own()),
        (
            UnsupportedModuleError,
            r"^net\.1\.0: .* no subclass, got GELU",
            lambda: nn.Sequential(nn.ReLU(), nn.Sequential(nn.GELU())),
        ),
        (UnsupportedModuleError, r"^net\.2: .* no subclass, got ParametrizedLinear", parametrized),
        (
            ValueError,
            r"^net: expected layers that share no weights, got one that is 0\.weight and 2\.0\.weight$",
            shared,
        ),
        (ValueError, r"^net: .* got one that is 0\.weight and 4\.weight$", tied),
    ],
)
def test_other_sequences_have_no_plain_values(error, message, build):
    with pytest.raises(error, match=message):
        parts_of("net", build())


LINEAR, DROPOUT, INNER = (
    PartConfiguration("0", "Linear", 3, 4, True),
    PartConfiguration("1", "Dropout", p=0.5, inplace=False, training=True),
    PartConfiguration("0", "Sequential"),
)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([replace(LINEAR, kind="GELU")], "^kind: expected one of 'Sequential', 'Linear', .* got 'GELU'$"),
        ([replace(LINEAR, in_features=0)], "^in_features: expected an integer of at least 1, got 0$"),
        ([replace(LINEAR, p=0.5)], "^layers: 0: expected bias, in_features, out_features of a Linear, got bias, in_fe"),
        ([replace(DROPOUT, kind="Identity")], "^layers: 1: expected nothing of a Identity, got inplace, p, training$"),
        ([replace(LINEAR, kind="SkippingLinear", method="fast")], "^method: expected one of 'auto', "),
        ([replace(DROPOUT, p=1.5)], "^p: expected a number from 0 to 1, got 1.5$"),
        ([replace(DROPOUT, p=float("nan"))], "^p: expected a number from 0 to 1, got nan$"),
        ([LINEAR, LINEAR], "^layers: expected names that are there once, and in a Sequential, got '0'$"),
        ([LINEAR, replace(DROPOUT, name="0.1")], "^layers: expected names .*, got '0.1'$"),
        ([replace(LINEAR, name="0.0"), INNER], "^layers: expected names .*, got '0.0'$"),
        ([replace(LINEAR, name="")], "^layers: module name can't be empty"),
        ([replace(LINEAR, name="forward")], "^layers: attribute 'forward' already exists$"),
    ],
)
def test_values_that_no_sequence_has_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        sequence_of(parts, torch.float32)


def test_building_draws_no_random_numbers():
    before = torch.get_rng_state()
    parts = parts_of("net", with_dropout_and_names())
    torch.set_rng_state(before)
    sequence_of(parts, torch.float32)
    assert torch.equal(torch.get_rng_state(), before)
