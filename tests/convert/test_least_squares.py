"""Weights of least norm, their ranks and methods, against plain torch and LAPACK."""

import warnings

import hypothesis
import pytest
import torch
from cases.conversions import TOLERANCE, grelu, plain_grelu, plain_relu, relative, samples
from hypothesis import strategies as st

from gatentk import convert
from gatentk.convert import least_squares


def test_weights_are_those_of_least_norm(generator):
    net, x = grelu(20, 80, 3, generator), samples(30, 20, generator)
    rnet, _ = convert.grelu_to_relu(net, x)
    t, h = plain_grelu(net, x), plain_relu(rnet, x)
    for k, weight in enumerate(rnet.weights):
        expected = (torch.linalg.pinv(h[k].relu()) @ t[k + 1]).T
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("depth", [1, 3])
def test_repeated_samples_count_once(dtype, depth, generator):
    net, x = grelu(20, 96, depth, generator, dtype), samples(30, 20, generator, dtype)
    repeated = torch.cat([x, x[3:20], x[:5]])
    rnet, report = convert.grelu_to_relu(net, repeated)
    assert [(fit.rank, fit.method) for fit in report.layers] == [(30, "svd")] * depth
    once, _ = convert.grelu_to_relu(net, x)
    for h_k, t_k in zip(plain_relu(rnet, repeated)[1:], plain_grelu(net, repeated)[1:], strict=True):
        assert relative(h_k, t_k) < TOLERANCE[dtype]
    for weight, other in zip(rnet.weights, once.weights, strict=True):
        assert relative(weight.detach(), other.detach()) < TOLERANCE[dtype]


@pytest.mark.parametrize(("dtype", "rank"), [(torch.float32, 30), (torch.float64, 60)])
def test_samples_that_differ_by_rounding_count_once(dtype, rank, generator):
    net = grelu(20, 96, 1, generator, torch.float32).to(dtype)
    x = samples(30, 20, generator, torch.float32)
    x = torch.cat([x, x * (1 + 2**-23)]).to(dtype)
    rnet, report = convert.grelu_to_relu(net, x)
    assert report.layers[0].rank == rank
    assert relative(rnet(x).detach(), net(x).detach()) < 1e-6


def test_nearly_equal_samples_are_told_apart_by_orthogonal_factors(generator):
    """The Gram matrix, of condition number 1e17, would not see that they differ."""
    net, x = grelu(10, 100, 2, generator), samples(20, 10, generator)
    x = torch.cat([x, x + 1e-9 * samples(20, 10, generator)])
    rnet, report = convert.grelu_to_relu(net, x)
    assert [(fit.rank, fit.method) for fit in report.layers] == [(40, "qr")] * 2
    difference = (rnet(x[20:]) - rnet(x[:20])).detach()
    assert relative(rnet(x).detach(), net(x).detach()) < 1e-9
    assert relative(difference, (net(x[20:]) - net(x[:20])).detach()) < 1e-4


def test_refinement_makes_up_for_the_squared_condition_of_the_gram_matrix(generator):
    """Condition number 1e10; without refinement the residual is 4e-11."""
    net, x = grelu(10, 100, 2, generator), samples(20, 10, generator)
    _, report = convert.grelu_to_relu(net, torch.cat([x, x + 1e-4 * samples(20, 10, generator)]))
    assert [fit.method for fit in report.layers] == ["cholesky"] * 2
    assert report.residual < 2e-15


def test_neurons_and_samples_without_activity_have_no_part(generator):
    net, x = grelu(6, 40, 2, generator), samples(25, 6, generator).abs()
    net.input_weight[5:25].abs_().neg_()
    net.gate_net.input_weight.copy_(net.input_weight)
    x[7] = 0
    with pytest.warns(UserWarning, match="not fitted exactly"):
        rnet, report = convert.grelu_to_relu(net, x)
    inputs, t = plain_relu(rnet, x)[0].relu(), plain_grelu(net, x)[1]
    expected = (torch.linalg.pinv(inputs) @ t).T
    torch.testing.assert_close(rnet.weights[0].detach(), expected, rtol=1e-8, atol=1e-9)
    assert torch.equal(rnet.weights[0][:, 5:25], torch.zeros(40, 20, dtype=torch.float64))
    assert report.layers[0].rank == torch.linalg.matrix_rank(inputs) < 20
    assert report.layers[0].method == "cholesky"


def test_samples_of_zeros_leave_weights_of_zeros(generator):
    rnet, report = convert.grelu_to_relu(grelu(3, 8, 2, generator), torch.zeros(4, 3, dtype=torch.float64))
    assert all(not weight.any() for weight in rnet.weights)
    assert [(fit.rank, fit.residual, fit.max_residual, fit.method) for fit in report.layers] == [(0, 0, 0, "zero")] * 2


@pytest.mark.parametrize("scale", [2.0**600, 2.0**-500])
def test_the_scale_of_the_samples_is_of_no_importance(scale, generator):
    net, x = grelu(10, 40, 2, generator), samples(20, 10, generator)
    (scaled, report), (expected, _) = (convert.grelu_to_relu(net, s * x) for s in (scale, 1.0))
    assert report.residual < 1e-12
    assert [fit.method for fit in report.layers] == ["cholesky"] * 2  # squares of the values are not in range
    for weight, other in zip(scaled.weights, expected.weights, strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-12, atol=1e-12)


def test_more_samples_than_neurons_give_least_squares_with_a_warning(generator):
    net, x = grelu(12, 30, 2, generator), samples(75, 12, generator)
    with pytest.warns(UserWarning, match=r"n = 75 samples .* width m = 30.*relative residual up to") as record:
        rnet, report = convert.grelu_to_relu(net, x)
    assert f"{report.residual:.2g} (layer" in str(record[0].message)
    assert record[0].filename == __file__
    t, h = plain_grelu(net, x), plain_relu(rnet, x)
    for k, fit in enumerate(report.layers, 1):
        # LAPACK's solution for the same inputs: the ReLU network's own activations.
        best = torch.linalg.lstsq(h[k - 1].relu(), t[k], driver="gelsd").solution
        torch.testing.assert_close(rnet.weights[k - 1].detach(), best.T, rtol=1e-8, atol=1e-9)
        optimum = relative(h[k - 1].relu() @ best, t[k])
        assert optimum > 0.1
        assert fit.residual == pytest.approx(optimum, rel=1e-9)


@hypothesis.given(
    n=st.integers(1, 12),
    m=st.integers(1, 12),
    d=st.integers(1, 6),
    repeats=st.integers(0, 4),
    seed=st.integers(0, 10_000),
)
@hypothesis.settings(max_examples=60)
def test_no_weight_is_better_and_none_as_good_is_smaller(n, m, d, repeats, seed):
    generator = torch.Generator().manual_seed(seed)
    net, x = grelu(d, m, 1, generator), samples(n, d, generator)
    x = torch.cat([x, x[:repeats]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rnet, report = convert.grelu_to_relu(net, x)
    inputs, t = (x @ net.input_weight.T).relu(), plain_grelu(net, x)[1]
    sigma = torch.linalg.svdvals(inputs)
    hypothesis.assume(not bool(((sigma > 1e-14 * sigma[0]) & (sigma < 1e-5 * sigma[0])).any()))
    best = (torch.linalg.pinv(inputs, rtol=1e-10) @ t).T
    assert report.layers[0].rank == int((sigma > 1e-10 * sigma[0]).sum())
    torch.testing.assert_close(rnet.weights[0].detach(), best, rtol=1e-6, atol=1e-6 * float(best.norm()) + 1e-12)


@pytest.mark.parametrize(("n", "method"), [(40, "cholesky"), (20, "svd")])
def test_blocks_of_neurons_change_nothing(n, method, generator, monkeypatch):
    net, x = grelu(8, 50, 1, generator), samples(n, 8, generator)
    x = torch.cat([x, x])[:40]
    (whole, report), _ = convert.grelu_to_relu(net, x), monkeypatch.setattr(least_squares, "_BLOCK", 7)
    blocks, _ = convert.grelu_to_relu(net, x)
    assert report.layers[0].method == method
    torch.testing.assert_close(blocks.weights[0], whole.weights[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n", "width"), [(30, 80), (80, 30)])
@pytest.mark.parametrize("ridge", [1e-6, 0.01, 10.0])
def test_a_ridge_is_that_of_the_extended_least_squares_problem(n, width, ridge, generator):
    net, x = grelu(20, width, 3, generator), samples(n, 20, generator)
    rnet, report = convert.grelu_to_relu(net, x, ridge=ridge)
    t, h = plain_grelu(net, x), plain_relu(rnet, x)
    for k, weight in enumerate(rnet.weights):
        r = h[k].relu()
        penalty = ridge * float(r.square().sum()) / min(n, int((r != 0).any(0).sum()))
        rows = torch.cat([r, penalty**0.5 * torch.eye(width, dtype=torch.float64)])
        wanted = torch.cat([t[k + 1], torch.zeros(width, width, dtype=torch.float64)])
        expected = torch.linalg.lstsq(rows, wanted).solution.T
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-6, atol=1e-8)
    assert [fit.method for fit in report.layers] == ["ridge"] * 3
    with pytest.raises(ValueError, match="ridge: expected a number of at least 0, got -1"):
        convert.grelu_to_relu(net, x, ridge=-1)
