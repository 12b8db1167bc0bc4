"""Conversions: intermediate values, least norm, ranks and reports, against plain torch and LAPACK."""

import copy
import dataclasses
import math
import pickle
import warnings

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from gatentk import convert, ops, reference
from gatentk.errors import GateTableError
from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


def grelu(d, m, depth, generator, dtype=torch.float64, d_out=3):
    return GReLUNetwork(d, m, depth, d_out, generator=generator, dtype=dtype)


def samples(n, d, generator, dtype=torch.float64):
    return torch.randn(n, d, generator=generator, dtype=dtype)


def plain_gates(net, x):
    """D_0 .. D_L as bools, by plain products in float64."""
    z, gates = x.double(), []
    for weight in (net.gate_net.input_weight, *net.gate_net.weights):
        z = (z @ weight.double().T).relu()
        gates.append(z > 0)
    return gates


def plain_grelu(net, x):
    """t_0 .. t_L in float64."""
    gates = plain_gates(net, x)
    t = [gates[0] * (x.double() @ net.input_weight.double().T)]
    for gate, weight in zip(gates[1:], net.weights, strict=True):
        t.append(gate * (t[-1] @ weight.detach().double().T))
    return t


def plain_relu(net, x):
    """h_0 .. h_L in float64."""
    h = [x.double() @ net.input_weight.double().T]
    for weight in net.weights:
        h.append(h[-1].relu() @ weight.detach().double().T)
    return h


def relative(a, b):
    return float((a - b).norm() / b.norm())


# GReLU -> ReLU


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


@pytest.mark.parametrize(("n", "method"), [(40, "cholesky"), (20, "svd")])
def test_blocks_of_neurons_change_nothing(n, method, generator, monkeypatch):
    net, x = grelu(8, 50, 1, generator), samples(n, 8, generator)
    x = torch.cat([x, x])[:40]
    (whole, report), _ = convert.grelu_to_relu(net, x), monkeypatch.setattr(convert, "_BLOCK", 7)
    blocks, _ = convert.grelu_to_relu(net, x)
    assert report.layers[0].method == method
    torch.testing.assert_close(blocks.weights[0], whole.weights[0], rtol=1e-9, atol=1e-9)


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
        (TypeError, r"x: expected a torch tensor or numpy array", lambda x: x.tolist()),
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
    with pytest.raises(TypeError, match="net: expected a GReLUNetwork or ReLUNetwork"):
        convert.low_rank_gates(mlp, x)


# ReLU -> GReLU


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


# Low-rank gates


def network(kind, d, m, depth, generator, dtype=torch.float64, last_relu=True):
    if kind == "grelu":
        return grelu(d, m, depth, generator, dtype)
    return ReLUNetwork(d, m, depth, 3, last_relu, generator, dtype)


def gate_inputs(net, x):
    """Psi_k and the z_{k-1} it is applied to, layer by layer, in plain float64."""
    if isinstance(net, GReLUNetwork):
        c, psi = net.gate_net.input_weight, net.gate_net.weights
    else:
        c, psi = net.input_weight, list(net.weights)
    z, pairs = (x @ c.T).relu(), []
    for weight in psi:
        pairs.append((weight.detach(), z))
        z = (z @ weight.detach().T).relu()
    return pairs


@pytest.mark.parametrize("n", [15, 60])
@pytest.mark.parametrize("kind", ["grelu", "relu"])
def test_full_rank_reproduces_gates_and_outputs(kind, n, generator):
    net, x = network(kind, 8, 32, 3, generator), samples(n, 8, generator)
    fast, report = convert.low_rank_gates(net, x, rank=32)
    assert [(p.layer, p.agreement) for p in report.layers] == [(1, 1.0), (2, 1.0), (3, 1.0)]
    assert report.output_error < 1e-12
    other = samples(20, 8, generator)
    torch.testing.assert_close(fast(other), net(other).detach(), rtol=1e-10, atol=1e-10)
    for p in report.layers:
        assert p.energy == pytest.approx(1, abs=1e-12)
        assert p.estimate == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("depth", [1, 3])
def test_without_a_last_relu_the_last_layer_has_no_gates(depth, generator):
    net, x = network("relu", 8, 32, depth, generator, last_relu=False), samples(50, 8, generator)
    fast, report = convert.low_rank_gates(net, x, rank=32)
    assert len(report.layers) == depth - 1
    assert fast.gate_table(x).layers == depth
    torch.testing.assert_close(fast(x), net(x).detach(), rtol=1e-10, atol=1e-10)
    repr(fast)


# Fewer samples than neurons, more of them, and a rank above the number of samples; Lanczos where 4 rank <= n or width.
CASES = [(15, 4), (15, 3), (60, 5), (60, 12), (15, 20)]


@pytest.mark.parametrize(("n", "rank"), CASES)
@pytest.mark.parametrize("kind", ["grelu", "relu"])
def test_factors_are_the_best_of_their_rank_on_the_data(kind, n, rank, generator):
    net, x = network(kind, 8, 32, 2, generator), samples(n, 8, generator)
    fast, report = convert.low_rank_gates(net, x, rank)
    for k, ((psi, z), p) in enumerate(zip(gate_inputs(net, x), report.layers, strict=True), 1):
        u, v = getattr(fast, f"u_{k}"), getattr(fast, f"v_{k}")
        assert u.shape == (32, rank)
        assert v.shape == (rank, 32)
        # SVD of Psi M^{1/2}, M the second moment of z.
        values, vectors = torch.linalg.eigh(z.T @ z / n)
        root = vectors * values.clamp_min(0).sqrt() @ vectors.T
        sigma = torch.linalg.svdvals(psi @ root)
        loss = float((z @ (psi - u @ v).T).square().sum() / n)
        assert loss == pytest.approx(float(sigma[rank:].square().sum()), rel=1e-8, abs=1e-9)
        assert p.energy == pytest.approx(float(sigma[:rank].square().sum() / sigma.square().sum()), rel=1e-9)
        assert p.estimate == pytest.approx(1 - math.acos(math.sqrt(p.energy)) / math.pi, abs=1e-12)
        for _ in range(5):
            left, right = samples(32, rank, generator), samples(rank, 32, generator)
            # The best V for a random U, the best U for a random V, and a small change of both.
            for rival in (
                left @ (torch.linalg.pinv(left) @ psi),
                (torch.linalg.pinv(z @ right.T) @ (z @ psi.T)).T @ right,
                (u + 1e-3 * left) @ (v + 1e-3 * right),
            ):
                assert float((z @ (psi - rival).T).square().sum() / n) > loss - 1e-9


def test_directions_without_samples_are_those_of_isotropic_inputs(generator):
    """With more factors than samples the rest of Psi is approximated as well as its rank allows."""
    net, x = network("grelu", 8, 32, 1, generator), samples(10, 8, generator)
    fast, _ = convert.low_rank_gates(net, x, 20)
    ((psi, z),) = gate_inputs(net, x)
    basis = torch.linalg.svd(psi @ z.T, full_matrices=False).U
    rest = psi - basis @ (basis.T @ psi)
    expected = torch.linalg.svdvals(rest)[10:].square().sum()
    torch.testing.assert_close((psi - fast.u_1 @ fast.v_1).square().sum(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", ["grelu", "relu"])
def test_outputs_are_those_of_the_predicted_gates(kind, generator):
    net, x = network(kind, 8, 40, 3, generator), samples(50, 8, generator)
    fast, report = convert.low_rank_gates(net, x)
    assert report.rank == fast.u_1.shape[1] == round(math.sqrt(40) / 2)
    z = (x @ net.input_weight.T).relu()
    t, gates, exact = z, [z > 0], [z > 0]
    for k, (psi, before) in enumerate(gate_inputs(net, x), 1):
        guess = z @ getattr(fast, f"v_{k}").T @ getattr(fast, f"u_{k}").T
        gates.append(guess > 0)
        exact.append(before @ psi.T > 0)
        t = gates[-1] * (t @ net.weights[k - 1].detach().T)
        t = t if kind == "grelu" else t.relu()
        z = guess.relu() if kind == "grelu" else t
    y, y_exact = t @ net.output_weight.T, net(x).detach()
    torch.testing.assert_close(fast(x), y, rtol=1e-10, atol=1e-10)
    assert torch.equal(fast.gate_table(x).to_bool(), torch.stack(gates))
    for p in report.layers:
        assert p.agreement == pytest.approx(float((gates[p.layer] == exact[p.layer]).double().mean()), abs=1e-12)
        assert 0.5 < p.agreement < 1
    assert report.output_error == pytest.approx(relative(y, y_exact), rel=1e-9)
    lines = str(report).splitlines()
    assert lines[0] == f"gates of rank 3 at width 40, n = 50 samples: relative output error {report.output_error:.2g}"
    assert lines[2].split() == [
        "1",
        *(f"{value:.4f}" for value in (report.layers[0].agreement, report.layers[0].estimate, report.layers[0].energy)),
    ]


@pytest.mark.parametrize("kind", ["grelu", "relu"])
def test_a_decaying_spectrum_is_predicted_better(kind, generator):
    net = network(kind, 100, 100, 2, generator)
    isotropic = samples(300, 100, generator)
    decaying = isotropic * torch.arange(1, 101, dtype=torch.float64) ** -2
    (_, flat), (_, steep) = (convert.low_rank_gates(net, x, 5) for x in (isotropic, decaying))
    for worse, better in zip(flat.layers, steep.layers, strict=True):
        assert better.agreement > worse.agreement + 0.05
        assert better.energy > worse.energy
    assert steep.output_error < flat.output_error
    # No layers before the first, and errors of the same size for all neurons: what the estimate assumes.
    assert flat.layers[0].agreement == pytest.approx(flat.layers[0].estimate, abs=0.02)


def test_float32_factors_predict_as_well(generator):
    net = network("relu", 10, 64, 2, generator)
    x = samples(200, 10, generator)
    single = copy.deepcopy(net).float()
    (_, expected), (fast, report) = convert.low_rank_gates(net, x, 6), convert.low_rank_gates(single, x.float(), 6)
    assert fast.u_1.dtype == fast(x.float()).dtype == torch.float32
    for p, q in zip(report.layers, expected.layers, strict=True):
        assert p.agreement == pytest.approx(q.agreement, abs=1e-3)
        assert p.energy == pytest.approx(q.energy, abs=1e-5)


@pytest.mark.parametrize("kind", ["grelu", "relu"])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_neurons_off_for_the_whole_batch_are_not_computed(kind, share, generator, monkeypatch):
    net, x = network(kind, 8, 40, 2, generator), samples(90, 8, generator)
    for weight in net.gate_net.weights if kind == "grelu" else net.weights:
        weight.data[: int(40 * share)].abs_().neg_()  # activations are never negative
    fast, _ = convert.low_rank_gates(net, x, rank=40)
    few, many = net(x[:3]).detach(), net(x).detach()
    sizes, product = [], ops.masked_linear

    def spy(z, weight, *rest, **options):
        sizes.append(len(weight))
        return product(z, weight, *rest, **options)

    monkeypatch.setattr(ops, "masked_linear", spy)
    torch.testing.assert_close(fast(x), many, rtol=1e-10, atol=1e-10)
    assert sizes[0] == 40
    assert max(sizes[1:3]) <= 40 - int(40 * share)
    sizes.clear()
    torch.testing.assert_close(fast(x[:3]), few, rtol=1e-10, atol=1e-10)
    # Three samples are too few for gathering rows to pay, unless none is needed.
    assert sizes[1:3] == ([40, 40] if share < 1 else [0, 0])


def test_inference_mode_and_later_calls_without_it(generator):
    net, x = network("relu", 8, 40, 2, generator), samples(90, 8, generator)
    net.weights[0].data[:20].abs_().neg_()
    fast, _ = convert.low_rank_gates(net, x, rank=40)
    with torch.inference_mode():
        inside = fast(x)
    assert torch.equal(fast(x), inside)
    torch.testing.assert_close(fast.float()(x.float()), net(x.float()).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["grelu", "relu"])
def test_copies_and_pickles_compute_the_same(kind, generator):
    net, x = network(kind, 8, 40, 2, generator), samples(30, 8, generator)
    fast, _ = convert.low_rank_gates(net, x)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert torch.equal(other(x), fast(x))
        assert not other._rows
    blank = convert.low_rank_gates(network(kind, 8, 40, 2, generator), x)[0]
    blank.load_state_dict(fast.state_dict())
    assert torch.equal(blank(x), fast(x))
    assert "rank=3" in repr(fast)
    assert not fast(x).requires_grad


def test_neurons_that_are_all_off_are_predicted(generator):
    net, x = network("grelu", 8, 40, 2, generator), samples(60, 8, generator).abs()
    for c in (net.input_weight, net.gate_net.input_weight):
        c.abs_().neg_()
    _, report = convert.low_rank_gates(net, x)
    assert [(p.agreement, p.energy) for p in report.layers] == [(1, 1)] * 2
    assert report.output_error == 0


def test_bits_of_the_predicted_gates_are_packed_as_everywhere(generator):
    net, x = network("relu", 8, 40, 1, generator), samples(30, 8, generator)
    fast, _ = convert.low_rank_gates(net, x)
    assert torch.equal(fast.gate_table(x).bits[0], reference.pack_bits(x @ net.input_weight.T > 0))


@pytest.mark.parametrize(
    ("error", "message", "rank"),
    [
        (ValueError, "rank: expected an integer of at least 1, got 0", 0),
        (ValueError, "rank: expected an integer of at least 1, got -3", -3),
        (ValueError, "rank: expected at most the width 16, got 17", 17),
        (TypeError, "rank: expected an integer, got float 2.5", 2.5),
    ],
)
def test_a_rank_out_of_range_is_refused(error, message, rank, generator):
    with pytest.raises(error, match=message):
        convert.low_rank_gates(grelu(5, 16, 2, generator), samples(8, 5, generator), rank)


def test_activations_that_overflow_are_refused(generator):
    net = network("relu", 5, 16, 2, generator, torch.float32)
    with pytest.raises(ValueError, match=r"net: activations of layer \d: expected finite values, got inf"):
        convert.low_rank_gates(net, 1e38 * samples(8, 5, generator, torch.float32))


def test_other_samples_are_checked(generator):
    fast, _ = convert.low_rank_gates(grelu(5, 16, 2, generator), samples(8, 5, generator))
    with pytest.raises(ValueError, match=r"x: expected shape \(n, 5\)"):
        fast(samples(8, 4, generator))
    assert fast(samples(0, 5, generator)).shape == (0, 3)
