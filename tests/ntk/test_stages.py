import pytest
import torch
from cases.kernels import D_IN, OTHER, Residual, hooked, samples
from torch import nn

import gatentk as gt
from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork
from gatentk.ntk import empirical
from gatentk.ntk.stages import stages_of


class OwnLinear(nn.Linear):
    pass


class OwnMLP(MLP):
    def forward(self, x):
        return super().forward(x).tanh()


class OwnGReLU(GReLUNetwork):
    pass


def hooked_network(kind=MLP):
    net = kind(D_IN, 3, 1)
    net.register_forward_pre_hook(lambda module, inputs: inputs)
    return net


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("^1: no layerwise NTK for Tanh", OTHER["tanh"]),
        ("^0.1.0: .* for Tanh", lambda: nn.Sequential(nn.Sequential(nn.Linear(D_IN, 2), nn.Sequential(nn.Tanh())))),
        ("^1: .* for LayerNorm", OTHER["normalised"]),
        ("^net: .* for Residual", Residual),
        ("^net: .* for OwnMLP", lambda: OwnMLP(D_IN, 3, 1)),
        ("^net: .* for Linear", lambda: nn.Linear(D_IN, 1)),
        ("^0: .* for OwnLinear", lambda: nn.Sequential(OwnLinear(D_IN, 1))),
        ("^1: .* for Dropout", lambda: nn.Sequential(nn.Linear(D_IN, 1), nn.Dropout())),
        ("^net: .* Sequential with hooks", lambda: hooked("net")),
        ("^0: .* Linear with hooks", lambda: hooked("0")),
        ("^2: .* Sequential with hooks", lambda: hooked("2")),
        ("^2.0: .* Linear with hooks", lambda: hooked("2.0")),
        ("^net: .* for MLP with hooks", hooked_network),
        ("^net: .* for OwnGReLU", lambda: OwnGReLU(D_IN, 3, 1)),
        ("^net: .* for GReLUNetwork with hooks", lambda: hooked_network(GReLUNetwork)),
        ("^net: .* for ReLUNetwork with hooks", lambda: hooked_network(ReLUNetwork)),
        (
            "^0: .* for ParametrizedLinear",
            lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(D_IN, 1))),
        ),
    ],
)
def test_the_part_that_is_no_stage_is_named(message, build):
    with pytest.raises(gt.UnsupportedModuleError, match=f'{message}.*method="jacobian"'):
        stages_of(build().double())


def test_layers_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ValueError, match="net: stage 1: expected 4 features"):
        empirical(nn.Sequential(nn.Linear(D_IN, 3), nn.Linear(4, 1)).double(), samples(2))


def test_a_layer_that_skips_zeros_is_a_linear_layer():
    plain = nn.Sequential(nn.Linear(D_IN, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    skipping, x = gt.convert.skip_zeros(plain), samples(3)
    skipping[2].method = "masked"
    torch.testing.assert_close(empirical(skipping, x, method="layerwise"), empirical(plain, x, method="layerwise"))
