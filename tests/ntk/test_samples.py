"""Depths, activations and samples as kernels and angles of infinite width take them."""

import pytest
import torch

from gatentk.activations import WITH_ANGLES
from gatentk.ntk.samples import Samples, check_depth, checked_activation


def test_depths_are_integers_up_to_the_largest():
    assert check_depth("depth", 0) == 0
    assert check_depth("depth", 2**20) == 2**20
    with pytest.raises(ValueError, match="depths: expected at most 1,048,576 hidden layers"):
        check_depth("depths", 2**20 + 1)


def test_activations_are_those_that_a_depth_and_a_caller_allow():
    assert checked_activation("gelu", 0).name == "gelu"
    with pytest.raises(ValueError, match="depth: expected at least 1 for grelu"):
        checked_activation("grelu", 0)
    with pytest.raises(ValueError, match="activation: expected one of 'relu', 'linear', 'grelu', got 'gelu'"):
        checked_activation("gelu", 1, WITH_ANGLES)


def test_samples_are_kept_as_given_and_balanced():
    x = torch.tensor([[3.0, 4.0], [3e30, 4e30], [0.0, 0.0]])
    samples = Samples(x, None, "relu", [2])
    assert torch.equal(samples.given[0], x)
    assert samples.x.dtype == torch.float64
    assert samples.z is None
    assert float(samples.x.abs().max()) <= 4
    gram = samples.rows.restore(samples.gram())
    torch.testing.assert_close(gram, x.double() @ x.double().T, rtol=1e-6, atol=0)
    assert torch.equal(samples.kernels([1, 0])[1], samples.kernels([0])[0])
