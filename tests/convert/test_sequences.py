"""Conversion of an `nn.Sequential` with biases and layers of any widths."""

import copy

import pytest
import torch
from cases.altered import ALTERED, sequential
from cases.sequences import SEQUENCES, dense, samples, sequence
from torch import nn

from gatentk import convert
from gatentk.errors import UnsupportedModuleError
from gatentk.nn import GReLUSequential


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("train", [False, True])
def test_gates_are_the_patterns_of_the_sequence(name, train):
    model, x = sequence(name, train=train), samples(25)
    before = copy.deepcopy(model.state_dict())
    gnet = convert.relu_to_grelu(model)
    assert isinstance(gnet, GReLUSequential)
    assert gnet.layers.training == train
    torch.testing.assert_close(gnet.eval()(x), model.eval()(x))
    with torch.no_grad():
        for parameter in gnet.parameters():
            parameter.zero_()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_layers_that_skip_are_converted(generator):
    model, x = dense(6, 520, 530, 3).double(), samples(25)
    gnet = convert.relu_to_grelu(convert.skip_zeros(model))
    torch.testing.assert_close(gnet(x), model(x))


CHANGED = [name for name, (build, *_) in ALTERED.items() if isinstance(build(), nn.Sequential)]


@pytest.mark.parametrize("name", CHANGED)
def test_changed_sequences_are_refused(name):
    build, *_ = ALTERED[name]
    with pytest.raises(UnsupportedModuleError, match=r"^rnet"):
        convert.relu_to_grelu(build())


def not_finite():
    net = sequential()
    net[2].bias.data[1] = torch.inf
    return net


@pytest.mark.parametrize(
    ("error", "message", "build"),
    [
        (
            TypeError,
            r"rnet\.0\.weight: expected float32 or float64, got .*; use rnet\.float\(\)$",
            sequential().bfloat16,
        ),
        (
            TypeError,
            r"rnet\.1\.weight: expected torch.float32",
            lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()),
        ),
        (ValueError, r"rnet\.2\.bias: expected finite values, got inf", not_finite),
        (UnsupportedModuleError, r"rnet\.1: expected Linear, ReLU", lambda: nn.Sequential(nn.Linear(2, 2), nn.Tanh())),
        (TypeError, r"rnet: expected a ReLUNetwork or an nn.Sequential, got", lambda: nn.Linear(2, 2)),
    ],
)
def test_other_networks_are_refused(error, message, build):
    with pytest.raises(error, match=message):
        convert.relu_to_grelu(build())
