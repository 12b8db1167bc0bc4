"""Factors are the best of their rank, and reports say what they are worth."""

import copy
import math

import pytest
import torch
from cases.conversions import GATE_KINDS, gate_inputs, grelu, grelu_of_kind, network, samples

from gatentk import convert
from gatentk.gates import GateNetwork
from gatentk.nn import GReLUNetwork


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


def test_neurons_that_are_all_off_are_predicted(generator):
    net, x = network("grelu", 8, 40, 2, generator), samples(60, 8, generator).abs()
    for c in (net.input_weight, net.gate_net.input_weight):
        c.abs_().neg_()
    _, report = convert.low_rank_gates(net, x)
    assert [(p.agreement, p.energy) for p in report.layers] == [(1, 1)] * 2
    assert report.output_error == 0


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


@pytest.mark.parametrize("n", [15, 60])
@pytest.mark.parametrize("options", GATE_KINDS)
def test_full_rank_reproduces_gates_of_any_kind(options, n, generator):
    net, x = grelu_of_kind(options, 8, 70, 3, generator), samples(n, 8, generator)
    full = min(net.gate_net.psi_1.shape)
    fast, report = convert.low_rank_gates(net, x, rank=full)
    assert [(p.layer, p.agreement) for p in report.layers] == [(1, 1.0), (2, 1.0), (3, 1.0)]
    assert report.output_error < 1e-12
    other = samples(20, 8, generator)
    torch.testing.assert_close(fast(other), net(other).detach(), rtol=1e-10, atol=1e-10)
    table = fast.gate_table(other)
    assert (table.block, table.units) == (net.gate_net.block, net.gate_net.units)
    assert torch.equal(table.bits, net.gate_table(other).bits)
    with pytest.raises(ValueError, match=rf"rank: expected at most the smaller side of its gate weights.* {full}, got"):
        convert.low_rank_gates(net, x, full + 1)
    assert convert.low_rank_gates(net, x)[1].rank == min(full, max(1, round(net.gate_net.units**0.5 / 2)))


@pytest.mark.parametrize("width", [64, 67])
def test_blocks_that_are_off_for_a_whole_batch_are_left_out(width, generator):
    """Among them, or alone on, the last one of three neurons; and layers without any that are on."""
    gates = GateNetwork(5, width, 1, generator, torch.float64, block=8, kind="shallow")
    net, x = GReLUNetwork(5, width, 1, 2, gates, generator, torch.float64), samples(300, 5, generator).abs()
    gates.input_weight.abs_()
    for on in ([], [0], [1, 3, gates.units - 1], [gates.units - 1]):
        gates.psi_1.abs_().neg_()
        gates.psi_1[on] *= -1
        fast, _ = convert.low_rank_gates(net, x, rank=5)
        torch.testing.assert_close(fast(x), net(x).detach(), rtol=1e-10, atol=1e-10)
