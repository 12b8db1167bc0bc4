"""Kernels of GReLU networks by the kind of their gates: against 100 digits, simulated networks, and every refusal."""

import math

import numpy as np
import pytest
import torch
from cases import exact
from cases.gated_samples import gates_of, hard_samples, measured, random_network, samples, within_standard_errors

from gatentk.gates import GateNetwork
from gatentk.ntk import gradient_angles, infinite, infinite_sweep, min_angle

KINDS = pytest.mark.parametrize("kind", ["deep", "shallow"])
CENTERS = pytest.mark.parametrize("center", [None, [0.3, -0.2, 0.5], [300.0, 20.0, -5.0]], ids=["", "near", "far"])
DEPTHS = [1, 2, 3, 10, 100]


def kernel(x, z=None, depth=1, gates="deep", **options):
    return infinite(x, z, depth, "grelu", gates=gates, **options)


def assert_within(K, x, z, depth, kind, center, tolerance):
    for i, a in enumerate(x.tolist()):
        for j, b in enumerate(z.tolist()):
            right = exact.gated_kernel(a, b, depth, kind, center)
            scale = depth * exact.norm(a) * exact.norm(b)
            assert abs(exact.mp.mpf(float(K[i, j])) - right) <= tolerance * scale, (i, j)


# Accuracy


@KINDS
@CENTERS
def test_kernel_is_exact_to_1e14_of_the_diagonal(isa, kind, center):
    x, z = hard_samples(), torch.cat([samples(3, 3, seed=2), hard_samples()[1:3]])
    gates = kind if center is None else gates_of(kind, np.array(center))
    own = infinite_sweep(x, depths=DEPTHS, activation="grelu", gates=gates)
    other = infinite_sweep(x, z, depths=DEPTHS, activation="grelu", gates=gates)
    # An angle between rounded differences is good to an ulp or two, of which a kernel makes L + 1.
    for index, depth in enumerate(DEPTHS):
        tolerance = 1e-14 if center is None else max(1e-14, 3e-16 * (depth + 1))
        assert_within(own[index], x, x, depth, kind, center, tolerance)
        assert_within(other[index], x, z, depth, kind, center, tolerance)


@KINDS
@CENTERS
def test_float32_kernel_is_as_accurate_as_plain_float32(isa, kind, center):
    x = hard_samples().float()
    K = kernel(x, depth=4, gates=kind if center is None else gates_of(kind, np.array(center)), dtype="float32")
    assert K.dtype == torch.float32
    assert_within(K, x, x, 4, kind, center, 2e-6)


@KINDS
@pytest.mark.parametrize("depth", [1, 5, 20])
def test_near_duplicates_give_a_definite_kernel_with_the_right_smallest_eigenvalue(isa, kind, depth):
    x = samples(6, 4)
    x[5] = x[0] + 1e-9 * samples(1, 4, seed=1)
    center = x.mean(0)
    for gates, mu in ((kind, None), (gates_of(kind, center, 4), center)):
        values = torch.linalg.eigvalsh(kernel(x, depth=depth, gates=gates))
        with exact.mp.workdps(50):
            matrix = [[exact.gated_kernel(a, b, depth, kind, mu) for b in x] for a in x]
            right = float(min(exact.mp.eigsy(exact.mp.matrix(matrix), eigvals_only=True)))
        assert values[0] > 0
        assert abs(float(values[0]) - right) <= 1e-4 * right


@KINDS
def test_gradient_angles_of_the_samples_gates_keep_their_digits_at_every_angle(isa, kind):
    u = torch.linalg.qr(samples(5, 2)).Q.T
    for theta in (1e-12, 1e-8, 1e-3, 0.5, 1.5, 2.5, 3.1):
        x = torch.stack([u[0], math.cos(theta) * u[0] + math.sin(theta) * u[1]])
        right_theta = exact.input_angle(*x.tolist())
        for depth in (1, 3, 30):
            cosine = exact.mp.cos(right_theta) * exact.gate_share(right_theta, depth, kind)
            right = float(exact.mp.acos(cosine))
            angles = gradient_angles(x, depth, "grelu", gates=kind)
            assert angles[0, 1] == pytest.approx(right, rel=1e-12)
            assert angles[0, 0] == 0
            assert min_angle(x, depth, "grelu", gates=kind) == pytest.approx(right, rel=1e-12)


@KINDS
def test_gradient_angles_are_those_of_the_kernel(isa, kind):
    x = samples(40, 3)
    gates = gates_of(kind, x.mean(0))
    K = kernel(x, depth=3, gates=gates)
    cosine = K / K.diagonal().sqrt() / K.diagonal().sqrt().unsqueeze(1)
    angles = gradient_angles(x, 3, "grelu", gates=gates)
    off = ~torch.eye(40, dtype=torch.bool)
    torch.testing.assert_close(angles.cos()[off], cosine[off], rtol=0, atol=1e-14)
    assert min_angle(x, 3, "grelu", gates=gates) == pytest.approx(float(angles[off].min()), rel=1e-12)


def test_powers_of_shallow_gates_are_exact_at_any_depth(isa):
    x = torch.tensor([[1.0, 0.0], [1.0, 1e-6]], dtype=torch.float64)
    theta = exact.input_angle(*x.tolist())
    for depth in (1, 1000, 2**20):
        K = kernel(x, depth=depth, gates="shallow") / depth
        right = float(exact.mp.cos(theta) * exact.gate_share(theta, depth, "shallow"))
        assert float(K[0, 1]) == pytest.approx(right, rel=4e-15)


# What comes in


@KINDS
@CENTERS
def test_sweeps_batches_and_symmetry_are_exact(isa, kind, center):
    x, z = samples(2 * 30, 3).view(2, 30, 3), samples(2 * 9, 3, seed=1).view(2, 9, 3)
    gates = kind if center is None else gates_of(kind, np.array(center))
    for other in (None, z):
        sweep = infinite_sweep(x, other, depths=[3, 1, 3, 20], activation="grelu", gates=gates)
        for index, depth in enumerate([3, 1, 3, 20]):
            single = kernel(x, other, depth, gates)
            assert torch.equal(sweep[index], single)
            assert torch.equal(single[1], kernel(x[1], None if other is None else z[1], depth, gates))
            assert other is not None or torch.equal(single, single.mT)


@KINDS
@CENTERS
def test_one_thread_and_two_give_the_same_bits(isa, kind, center):
    x = samples(150, 3)
    gates = kind if center is None else gates_of(kind, np.array(center))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(kernel(x, depth=4, gates=gates))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


@KINDS
@CENTERS
def test_numpy_strided_and_requires_grad_samples_work(kind, center):
    x = samples(12, 9)[::2, ::3]
    gates = kind if center is None else gates_of(kind, np.array(center))
    expected = kernel(x.contiguous(), depth=2, gates=gates)
    result = kernel(x.clone().requires_grad_(), depth=2, gates=gates)
    assert torch.equal(result, expected)
    assert result.requires_grad
    array = kernel(x.numpy(), depth=2, gates=gates)
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, expected.numpy())


@KINDS
def test_each_trained_matrix_has_an_equal_part(kind):
    x, z = samples(6, 3), samples(4, 3, seed=1)
    for gates in (kind, gates_of(kind, x.mean(0))):
        for other in (None, z):
            parts = kernel(x, other, 3, gates, components=True)
            assert parts.shape[0] == 3
            torch.testing.assert_close(parts, (kernel(x, other, 3, gates) / 3).expand_as(parts))


def test_a_gate_network_stands_for_its_kind_and_center():
    x = samples(8, 3)
    mu = x.mean(0)
    assert torch.equal(kernel(x, gates=GateNetwork(3, 10, 1)), kernel(x, gates="paper"))
    assert torch.equal(kernel(x, gates="paper"), infinite(x, activation="grelu"))
    assert torch.equal(kernel(x, gates=GateNetwork(3, 10, 1, block=2)), kernel(x, gates="deep"))
    assert torch.equal(kernel(x, gates=GateNetwork(3, 10, 1, kind="shallow")), kernel(x, gates="shallow"))
    for kind in ("deep", "shallow"):
        net = GateNetwork(3, 10, 1, kind=kind, center=mu, dtype=torch.float64)
        assert torch.equal(kernel(x, gates=net), kernel(x, gates=gates_of(kind, mu)))
        origin = gates_of(kind, torch.zeros(3))
        torch.testing.assert_close(kernel(x, gates=origin), kernel(x, gates=kind), rtol=1e-13, atol=1e-14)


def test_the_depths_of_one_layer_have_the_formulas_of_a_right_angle():
    x = torch.eye(2, dtype=torch.float64) + 1
    theta = float(exact.input_angle(*x.tolist()))
    theta_1 = float(exact.angles(exact.input_angle(*x.tolist()), 1)[1])
    share = 1 - theta / math.pi
    assert kernel(x, gates="shallow")[0, 1].item() == pytest.approx(4 * share**2, rel=1e-14)
    assert kernel(x, gates="deep")[0, 1].item() == pytest.approx(4 * share * (1 - theta_1 / math.pi), rel=1e-14)


@KINDS
@CENTERS
@pytest.mark.parametrize("power", [-480, -30, 200, 490])
def test_scaling_samples_and_center_by_a_power_of_two_scales_the_kernel(kind, center, power):
    x, factor = samples(5, 3), 2.0**power
    gates = [kind, kind]
    if center is not None:
        gates = [gates_of(kind, np.array(center) * by) for by in (1, factor)]
    expected = kernel(x, depth=3, gates=gates[0]) * factor * factor
    torch.testing.assert_close(kernel(x * factor, depth=3, gates=gates[1]), expected, rtol=1e-15, atol=0)


@KINDS
def test_zero_rows_have_the_zero_kernel_and_change_no_other(isa, kind):
    x = samples(9, 3)
    x[4] = 0
    kept = [0, 1, 2, 3, 5, 6, 7, 8]
    for gates in (kind, gates_of(kind, [0.5, 0.1, -0.3])):
        K = kernel(x, depth=2, gates=gates)
        assert not K[4].any()
        assert not K[:, 4].any()
        torch.testing.assert_close(K[kept][:, kept], kernel(x[kept], depth=2, gates=gates), rtol=1e-14, atol=1e-15)


def test_a_sample_that_equals_the_center_is_named():
    x = samples(5, 3)
    for kind in ("deep", "shallow"):
        with pytest.raises(ValueError, match=r"^x: row 3 equals the center, so that all its gates are off"):
            kernel(x, gates=gates_of(kind, x[3]))
        with pytest.raises(ValueError, match=r"^z: row 2 equals the center"):
            kernel(x[:3], x[1:], gates=gates_of(kind, x[3]), depth=2)
        with pytest.raises(ValueError, match=r"^x: row \(1, 0\) equals the center"):
            kernel(x[:4].view(2, 2, 3), gates=gates_of(kind, x[2]))
        with pytest.raises(ValueError, match=r"^x: row 3 equals the center"):
            min_angle(x, 2, "grelu", gates=gates_of(kind, x[3]))
    with pytest.raises(ValueError, match=r"^x: row 4 is so far from the center that their difference overflows"):
        kernel(torch.cat([x[:4], x[:1] * 0 + 1.7e308]), gates=gates_of("deep", np.full(3, -1e308)))


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "gates: expected none for relu, .* got 'deep'", {"activation": "relu", "gates": "deep"}),
        (ValueError, "gates: expected none for linear, .* got GateNetwork", {"activation": "linear", "gates": None}),
        (ValueError, "gates: expected one of 'paper', 'deep', 'shallow', got 'wide'", {"gates": "wide"}),
        (TypeError, "gates: expected a GateNetwork or one of paper, deep, shallow, got int", {"gates": 3}),
        (ValueError, "gates: expected a network of 4 features as in x, got d_in=3", {"gates": None}),
        (ValueError, "at least 1 for grelu", {"gates": "deep", "depth": 0}),
    ],
)
def test_bad_gates_are_refused_by_name(error, message, options):
    options = {"activation": "grelu"} | options
    if options["gates"] is None:
        options["gates"] = GateNetwork(3, 2, 1)
    x = samples(2, 4)
    depth = options.pop("depth", 1)
    for call in (
        lambda: infinite(x, depth=depth, **options),
        lambda: infinite_sweep(x, depths=[depth], **options),
        lambda: gradient_angles(x, depth, **options),
        lambda: min_angle(x, depth, **options),
    ):
        with pytest.raises(error, match=message):
            call()


# Simulated networks


@pytest.mark.parametrize("block", [1, 5])
@pytest.mark.parametrize("centred", [False, True])
def test_shallow_kernel_is_the_mean_of_narrow_networks(block, centred):
    """At width 12 and blocks of 5, 5 and 2 neurons, with no bias to allow for; the parts of the layers too."""
    x = samples(3, 4) + 1
    gates = {"block": block, "kind": "shallow", "center": x.mean(0) if centred else None}
    nets = [random_network(x, 12, 2, seed, **gates) for seed in range(250)]
    draws = torch.stack([measured(net, x) for net in nets])
    closed = infinite(x, depth=2, activation="grelu", components=True, gates=nets[0].gate_net)
    assert within_standard_errors(draws, closed)
    assert within_standard_errors(draws.sum(1), closed.sum(0))
    # The simulation is sharp enough to tell the kinds apart.
    assert not within_standard_errors(draws, infinite(x, depth=2, activation="grelu", components=True))


def deep_gates(x, units, depth, draws, seed):
    """The mean over gate networks of x.z prod (2/w) (units on in both), by plain torch."""
    generator = torch.Generator().manual_seed(seed)

    def gaussian(rows, columns):
        return torch.randn(draws, rows, columns, generator=generator, dtype=torch.float64) * (2 / columns) ** 0.5

    z = torch.relu(x @ gaussian(units, x.shape[1]).mT)
    product = x @ x.mT
    for layer in range(depth + 1):
        if layer:
            z = torch.relu(z @ gaussian(units, units).mT)
        on = (z > 0).double()
        product = product * (2 / units) * (on @ on.mT)
    return product * depth


def test_the_bias_of_deep_gates_falls_like_the_share_of_a_block():
    """At 8 units a layer and depth 3 it is some 25%, at 32 a quarter of that: of order g/m."""
    x, depth = samples(2, 4), 3
    closed = kernel(x, depth=depth, gates="deep")
    few, many = (deep_gates(x, units, depth, 4000, seed=1).mean(0) / closed - 1 for units in (8, 32))
    assert 0.1 < few[0, 1] < 0.5
    assert 3 < few[0, 1] / many[0, 1] < 5.5
