"""Values, reports and refusals of conversions, against plain torch."""

import copy
import dataclasses
import math

import pytest
import torch
from cases.conversions import GATE_KINDS, TOLERANCE, grelu, grelu_of_kind, plain_grelu, plain_relu, relative, samples

from gatentk import convert
from gatentk.errors import GateTableError
from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_all_values_on_the_training_set_stay(dtype, depth, generator):
    net, x = grelu(20, 160, depth, generator, dtype), samples(40, 20, generator, dtype)
    rnet, report = convert.grelu_to_relu(net, x)
    assert not rnet.last_relu
    t, h = plain_grelu(net, x), plain_relu(rnet, x)
    torch.testing.assert_close(h[0].relu(), t[0])
    for fit, t_k, h_k in zip(report.layers, t[1:], h[1:], strict=True):
        assert relative(h_k, t_k) < TOLERANCE[dtype]
        assert float((h_k - t_k).abs().max() / t_k.abs().max()) < TOLERANCE[dtype]
        assert (fit.rank, fit.method) == (40, "cholesky")
    assert relative(rnet(x).detach(), net(x).detach()) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_many_samples_as_neurons_are_fitted(dtype, generator):
    net, x = grelu(64, 64, 1, generator, dtype), samples(64, 64, generator, dtype)
    rnet, report = convert.grelu_to_relu(net, x)
    assert report.layers[0].rank == 64
    assert relative(plain_relu(rnet, x)[1], plain_grelu(net, x)[1]) < TOLERANCE[dtype]


@pytest.mark.parametrize("n", [70, 100])
def test_a_rank_that_the_duplicates_reduce_below_the_width_fits_also_many_samples(n, generator):
    """n > width, and yet only 30 different samples."""
    net, x = grelu(20, 64, 2, generator), samples(30, 20, generator)
    x = torch.cat([x, x, x, x])[:n]
    with pytest.warns(UserWarning, match=f"n = {n} samples are more than the width m = 64"):
        rnet, report = convert.grelu_to_relu(net, x)
    assert [fit.rank for fit in report.layers] == [30, 30]
    assert relative(rnet(x).detach(), net(x).detach()) < 1e-9


def test_more_samples_than_features(generator):
    net, x = grelu(4, 200, 3, generator), samples(40, 4, generator)
    rnet, report = convert.grelu_to_relu(net, x)
    assert [fit.rank for fit in report.layers] == [40] * 3
    assert max(relative(h, t) for h, t in zip(plain_relu(rnet, x)[1:], plain_grelu(net, x)[1:], strict=True)) < 1e-9


def test_the_report_has_norms_changes_and_residuals(generator):
    net, x = grelu(12, 30, 2, generator, torch.float32), samples(75, 12, generator, torch.float32)
    with pytest.warns(UserWarning, match="least squares"):
        rnet, report = convert.grelu_to_relu(net, x)
    assert (report.n, report.width, [fit.layer for fit in report.layers]) == (75, 30, [1, 2])
    t, h = plain_grelu(net, x), plain_relu(rnet, x)
    for k, fit in enumerate(report.layers, 1):
        new, old = (network.weights[k - 1].detach().double() for network in (rnet, net))
        assert fit.residual == pytest.approx(relative(h[k], t[k]), rel=1e-4)
        assert fit.max_residual == pytest.approx(float((h[k] - t[k]).abs().max() / t[k].abs().max()), rel=1e-4)
        assert fit.norm == pytest.approx(math.sqrt(float((new**2).sum())), rel=1e-6)
        assert fit.change == pytest.approx(math.sqrt(float(((new - old) ** 2).sum())), rel=1e-6)
    assert report.residual == max(fit.residual for fit in report.layers)
    lines = str(report).splitlines()
    assert lines[0] == "GReLU to ReLU on n = 75 samples, width 30"
    assert lines[1].split()[0] == "layer"
    assert len(lines) == 4
    assert lines[3].split() == [
        "2",
        f"{report.layers[1].residual:.1e}",
        f"{report.layers[1].max_residual:.1e}",
        "30",
        f"{report.layers[1].norm:.4g}",
        f"{report.layers[1].change:.4g}",
        "cholesky",
    ]
    assert dataclasses.asdict(report)["layers"][0]["rank"] == 30


def test_networks_share_nothing_and_random_numbers_are_left_alone(generator):
    net, x = grelu(5, 16, 2, generator), samples(8, 5, generator)
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    rnet, _ = convert.grelu_to_relu(net, x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(rnet.input_weight, net.input_weight)
    assert torch.equal(rnet.output_weight, net.output_weight)
    assert all(weight.requires_grad for weight in rnet.weights)
    with torch.no_grad():
        for tensor in (rnet.input_weight, rnet.output_weight, *rnet.weights):
            tensor.zero_()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_gates_may_be_given_and_samples_may_be_an_array(generator):
    net, x = grelu(5, 16, 2, generator), samples(8, 5, generator)
    expected, _ = convert.grelu_to_relu(net, x)
    for other in (convert.grelu_to_relu(net, x, net.gate_table(x)), convert.grelu_to_relu(net, x.numpy())):
        assert all(torch.equal(a, b) for a, b in zip(other[0].weights, expected.weights, strict=True))
    foreign = grelu(5, 16, 2, generator).gate_table(x)
    with pytest.raises(GateTableError, match="gates: expected a table of this network's gate network"):
        convert.grelu_to_relu(net, x, foreign)
    with pytest.raises(ValueError, match="gates: expected 3 layers, 8 samples"):
        convert.grelu_to_relu(net, x, net.gate_table(x)[:5])


@pytest.mark.parametrize("call", [convert.grelu_to_relu, convert.low_rank_gates])
@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (
            ValueError,
            r"x: expected finite values, got nan at index \(1, 2\)",
            lambda x: x.index_put((_at(1), _at(2)), _nan()),
        ),
        (ValueError, r"x: expected shape \(n, 5\)", lambda x: x[:, :4]),
        (ValueError, r"x: expected shape", lambda x: x[0]),
        (ValueError, r"x: expected at least one sample", lambda x: x[:0]),
        (TypeError, r"x: expected torch.float64 as the network's weights", lambda x: x.float()),
        (TypeError, r"x: expected float32 or float64", lambda x: x.long()),
        (TypeError, r"x: expected a torch tensor or numpy array", lambda x: None),
    ],
)
def test_bad_samples_are_refused(call, error, message, change, generator):
    with pytest.raises(error, match=message):
        call(grelu(5, 16, 2, generator), change(samples(8, 5, generator)))


def _at(index):
    return torch.tensor(index)


def _nan():
    return torch.tensor(math.nan, dtype=torch.float64)


def test_a_network_that_diverged_is_refused(generator):
    net, x = grelu(5, 16, 2, generator), samples(8, 5, generator)
    with torch.no_grad():
        net.weights[1].fill_(math.inf)
    with pytest.raises(ValueError, match="gnet: values of layer 2: expected finite values"):
        convert.grelu_to_relu(net, x)


def test_other_networks_are_refused(generator):
    x, mlp = samples(8, 5, generator), MLP(5, 16, 2)
    with pytest.raises(TypeError, match="gnet: expected a GReLUNetwork"):
        convert.grelu_to_relu(ReLUNetwork(5, 16, 2), x)
    with pytest.raises(TypeError, match="rnet: expected a ReLUNetwork"):
        convert.relu_to_grelu(grelu(5, 16, 2, generator))
    with pytest.raises(TypeError, match=r"net: expected a GReLUNetwork, a ReLUNetwork or an nn\.Sequential"):
        convert.low_rank_gates(mlp, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("last_relu", [True, False])
def test_a_relu_network_becomes_its_own_gate_network(last_relu, dtype, generator):
    rnet = ReLUNetwork(6, 40, 3, 2, last_relu, generator, dtype)
    gnet, x = convert.relu_to_grelu(rnet), samples(30, 6, generator, dtype)
    h = plain_relu(rnet, x)
    for t_k, h_k in zip(gnet.intermediate(x), h, strict=True):
        torch.testing.assert_close(t_k.detach(), h_k.relu().to(dtype))
    torch.testing.assert_close(gnet(x).double(), h[-1].relu() @ rnet.output_weight.double().T, rtol=1e-4, atol=1e-5)
    if last_relu:
        torch.testing.assert_close(gnet(x), rnet(x))
    else:
        missing = -(-h[-1]).relu() @ rnet.output_weight.double().T
        torch.testing.assert_close(gnet(x).double() + missing, rnet(x).double(), rtol=1e-4, atol=1e-5)


def test_a_gated_copy_keeps_its_gates_in_training(generator):
    rnet = ReLUNetwork(6, 40, 2, generator=generator)
    state = torch.get_rng_state()
    gnet, x = convert.relu_to_grelu(rnet), samples(30, 6, generator, torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    table, before = gnet.gate_table(x), rnet(x)
    with torch.no_grad():
        for weight in gnet.weights:
            weight.add_(1)
    assert torch.equal(gnet.gate_table(x).bits, table.bits)
    assert torch.equal(rnet(x), before)
    assert [tuple(weight.shape) for weight in gnet.weights] == [(40, 40)] * 2


def test_there_and_back(generator):
    net, x = grelu(10, 60, 2, generator), samples(20, 10, generator)
    back = convert.relu_to_grelu(convert.grelu_to_relu(net, x)[0])
    for again, t in zip(back.intermediate(x)[:-1], net.intermediate(x)[:-1], strict=True):
        torch.testing.assert_close(again, t.relu())


def test_trained_ends_stay_trained(generator):
    net = GReLUNetwork(20, 160, 2, 1, generator=generator, dtype=torch.float64, train_ends=True)
    x = samples(40, 20, generator, torch.float64)
    with torch.no_grad():
        net.input_weight.mul_(1.5)
    rnet, _ = convert.grelu_to_relu(net, x)
    back = convert.relu_to_grelu(rnet)
    for made in (rnet, back):
        assert made.train_ends
        assert torch.equal(made.input_weight, net.input_weight)
    assert relative(rnet(x).detach(), net(x).detach()) < TOLERANCE[torch.float64]


@pytest.mark.parametrize("options", GATE_KINDS)
def test_gates_of_any_kind_are_converted(options, generator):
    net, x = grelu_of_kind(options, 20, 160, 2, generator), samples(30, 20, generator)
    rnet, report = convert.grelu_to_relu(net, x, net.gate_table(x))
    t, h = plain_grelu(net, x), plain_relu(rnet, x)
    for t_k, h_k in zip(t[1:], h[1:], strict=True):
        assert relative(h_k, t_k) < TOLERANCE[torch.float64]
    assert report.residual < TOLERANCE[torch.float64]
    assert torch.equal(rnet.input_weight, net.input_weight)
    torch.testing.assert_close(rnet(x), net(x))
