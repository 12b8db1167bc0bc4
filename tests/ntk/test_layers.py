import pytest
import torch
from torch import nn
from torch.nn import functional

from gatentk.ntk.layers import Call, Positions, fits, formed, positions

LAYERS = {
    "linear": (nn.Linear(3, 4), (5, 3)),
    "linear on positions": (nn.Linear(3, 4), (5, 2, 3)),
    "conv1d": (nn.Conv1d(2, 4, 3, stride=2, padding=1), (5, 2, 7)),
    "conv2d": (nn.Conv2d(4, 6, (2, 3), groups=2, dilation=(2, 1)), (5, 4, 5, 5)),
    "conv3d": (nn.Conv3d(2, 3, 2, padding="same", padding_mode="replicate"), (5, 2, 3, 3, 3)),
    "layer norm": (nn.LayerNorm(3), (5, 2, 3)),
    "batch norm": (nn.BatchNorm2d(3).eval(), (5, 3, 2, 2)),
    "slopes": (nn.PReLU(3), (5, 3, 2)),
    "one slope": (nn.PReLU(), (5, 3)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_backward_passes(name):
    layer, shape = LAYERS[name]
    layer, generator = layer.double(), torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    delta = torch.randn(len(x), 2, *layer(x).shape[1:], generator=generator, dtype=torch.float64)
    call = Call(layer, x, delta)
    found = positions(call)
    with torch.no_grad():
        by_name = formed(call) if found is None else {"weight": found.gradients(), "bias": found.bias_gradients()}
    for key, parameter in layer.named_parameters():
        for i in range(len(x)):
            for p in range(2):
                (expected,) = torch.autograd.grad((layer(x[i : i + 1]) * delta[i, p]).sum(), parameter)
                torch.testing.assert_close(by_name[key][i, p], expected.flatten())


def test_few_positions_are_multiplied_and_many_formed():
    def of(count, a, b, groups=1):
        return Positions(torch.zeros(2, groups, count, a), torch.zeros(2, 1, groups, count, b))

    assert not of(1, 9, 9).forming_pays
    assert not of(2, 100, 100).forming_pays
    assert of(20, 10, 10).forming_pays
    assert of(1, 9, 9, groups=2).forming_pays


def test_layers_have_a_row_a_sample():
    x = torch.zeros(3, 2, 5, 5)
    layer = nn.Conv2d(2, 1, 3)
    assert fits(layer, x, layer(x), 3)
    assert not fits(layer, x, layer(x), 2)
    assert not fits(layer, x[0], layer(x[0]), 2)
    assert fits(nn.Linear(5, 5), x, x, 3)
    assert not fits(nn.Linear(3, 3), functional.relu(x[:, 0, 0, 0]), x[:, 0, 0, 0], 3)
