import math

import pytest
import torch

from gatentk.nn import MLP


def test_weights_have_the_shapes_of_the_layers():
    net = MLP(3, 7, 2, 4)
    assert [tuple(w.shape) for w in net.weights] == [(7, 3), (7, 7), (4, 7)]
    assert [name for name, _ in net.named_parameters()] == ["weights.0", "weights.1", "weights.2"]
    assert [tuple(w.shape) for w in MLP(3, 7, 0, 4).weights] == [(4, 3)]


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_forward_is_equation_1_to_3(activation, depth, generator):
    net = MLP(3, 7, depth, 2, activation, generator, torch.float64)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    expected = []
    for sample in x:
        alpha = sample
        for weight in list(net.weights)[:-1]:
            pre = weight @ alpha
            alpha = math.sqrt(2 / 7) * pre.clamp(min=0) if activation == "relu" else math.sqrt(1 / 7) * pre
        expected.append(net.weights[-1] @ alpha)
    torch.testing.assert_close(net(x), torch.stack(expected))
    torch.testing.assert_close(net(x.view(1, 5, 3)), torch.stack(expected).view(1, 5, 2))


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_wide_layers_preserve_the_norm(activation, generator):
    x, seeds = torch.randn(1, 6, generator=generator, dtype=torch.float64), 30
    nets = [MLP(6, 256, 3, 50, activation, generator, torch.float64) for _ in range(seeds)]
    outputs = torch.cat([net(x).detach() for net in nets])
    means = outputs.square().mean(1)
    assert abs(float(means.mean() - x.square().sum())) <= 4.5 * float(means.std()) / seeds**0.5


def test_weights_are_standard_normal(generator):
    weights = torch.cat([w.detach().flatten() for w in MLP(50, 200, 2, 10, generator=generator).weights])
    assert abs(float(weights.mean())) < 5 / len(weights) ** 0.5
    assert abs(float(weights.var()) - 1) < 5 * (2 / len(weights)) ** 0.5


def test_a_generator_fixes_the_weights_and_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    first, second = (MLP(3, 5, 1, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.weights, second.weights, strict=True))


def test_dtype_is_that_asked_for_or_the_default_one():
    assert MLP(3, 5, 1, dtype=torch.float64).weights[0].dtype == torch.float64
    assert MLP(3, 5, 1).weights[0].dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert MLP(3, 5, 1).weights[0].dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_state_can_be_stored_and_loaded(generator):
    net, other = MLP(3, 5, 2), MLP(3, 5, 2)
    other.load_state_dict(net.state_dict())
    x = torch.randn(4, 3, generator=generator)
    assert torch.equal(net(x), other(x))


def test_repr_tells_the_sizes():
    assert "d_in=3, width=5, depth=2, d_out=1, activation='linear'" in repr(MLP(3, 5, 2, activation="linear"))


@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "d_in: expected an integer of at least 1, got 0", (0, 5, 1), {}),
        (ValueError, "width: expected an integer of at least 1, got 0", (3, 0, 1), {}),
        (ValueError, "depth: expected an integer of at least 0, got -1", (3, 5, -1), {}),
        (ValueError, "d_out: expected an integer of at least 1, got 0", (3, 5, 1, 0), {}),
        (TypeError, "width: expected an integer, got float 5.0", (3, 5.0, 1), {}),
        (TypeError, "depth: expected an integer, got bool True", (3, 5, True), {}),
        (ValueError, "activation: expected one of 'relu', 'linear', got 'tanh'", (3, 5, 1), {"activation": "tanh"}),
        (TypeError, "dtype: expected torch.float32 or torch.float64", (3, 5, 1), {"dtype": torch.float16}),
    ],
)
def test_bad_sizes_and_names_are_refused(error, message, arguments, options):
    with pytest.raises(error, match=message):
        MLP(*arguments, **options)
