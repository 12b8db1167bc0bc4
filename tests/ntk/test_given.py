import pytest
import torch
from cases.kernels import D_IN, samples
from torch import nn

from gatentk.ntk.given import own_precision, recordable, samples_for


def test_lists_get_the_dtype_of_the_network():
    net = nn.Linear(2, 1)
    assert samples_for("x", [[1.0, 2.0]], net).dtype == torch.float32
    assert samples_for("x", [[1.0, 2.0]], net.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("error", "message", "net"),
    [
        (ValueError, "net: expected trainable parameters", nn.Linear(D_IN, 1).double().requires_grad_(False)),
        (ValueError, "net: expected parameters that are initialised", nn.LazyLinear(1, dtype=torch.float64)),
        (TypeError, "z: expected torch.float32 on cpu as the network's parameters, got", nn.Linear(D_IN, 1)),
    ],
)
def test_networks_that_do_not_fit_are_refused(error, message, net):
    with pytest.raises(error, match=message):
        samples_for("z", samples(2), net)


def test_autocast_is_off_inside():
    with torch.autocast("cpu", torch.bfloat16), own_precision(samples(1)):
        assert not torch.is_autocast_enabled("cpu")


def test_inference_tensors_are_copied():
    x = samples(1)
    assert recordable(x) is x
    with torch.inference_mode():
        y = samples(1)
    assert not recordable(y).is_inference()
