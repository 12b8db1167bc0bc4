"""Angles of samples, embeddings and gradients against 100 digits, and what the theorems say about them."""

import math

import numpy as np
import pytest
import torch
from cases import exact

from gatentk.ntk import angles, angles_from_kernel, embedding_angles, gradient_angles, infinite, min_angle

DEPTHS = [0, 1, 2, 3, 5, 10, 30, 100]
INPUT_ANGLES = [1e-12, 3e-10, 1e-8, 1e-5, 1e-3, 0.1, 0.5, math.pi / 3, 1.5, math.pi / 2, 2, 2.5, 3]
INPUT_ANGLES += [math.pi - 1e-3, math.pi - 1e-6]


def samples(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pairs(thetas, d, seed=0):
    """(len(thetas), 2, d): rows of equal norm, in general position, at angles of about theta."""
    u = torch.linalg.qr(samples(d, 2, seed)).Q.T
    return torch.stack([torch.stack([u[0], math.cos(t) * u[0] + math.sin(t) * u[1]]) for t in thetas]) * 3


def assert_relatively_close(result, expected, tolerance, label):
    for value, right in zip(result, expected, strict=True):
        assert abs(float((exact.mp.mpf(float(value)) - right) / right)) <= tolerance, (label, float(right))


@pytest.mark.parametrize("d", [2, 3, 10, 50])
def test_angles_are_exact_to_1e12_at_every_angle_and_depth(isa, d):
    x = pairs(INPUT_ANGLES, d)
    thetas = [exact.input_angle(*pair.tolist()) for pair in x]  # of the rounded rows
    for depth in DEPTHS:
        embedded = [exact.angles(t, depth)[depth] for t in thetas]
        assert_relatively_close(embedding_angles(x, depth)[:, 0, 1], embedded, 1e-12, depth)
        for activation in ("relu", "linear", "grelu"):
            if depth == 0 and activation == "grelu":
                continue
            right = [exact.gradient_angle(t, depth, activation) for t in thetas]
            result = gradient_angles(x, depth, activation)
            assert_relatively_close(result[:, 0, 1], right, 1e-12, (depth, activation))
            assert_relatively_close(result[:, 1, 0], right, 1e-12, (depth, activation))


@pytest.mark.parametrize("ratio", [1.0, 1.7, 1e2, 1e3, 3.3e4, 1e8])
@pytest.mark.parametrize("d", [2, 3, 10, 50])
def test_angles_of_rows_of_unequal_norm_are_as_exact(isa, d, ratio):
    x = pairs(INPUT_ANGLES, d) * torch.tensor([[1.0], [ratio]], dtype=torch.float64)
    thetas = [exact.input_angle(*pair.tolist()) for pair in x]
    for rows in (x, x.flip(1)):
        assert_relatively_close(gradient_angles(rows, 0)[:, 0, 1], thetas, 1e-14, ratio)
        right = [exact.gradient_angle(t, 3) for t in thetas]
        assert_relatively_close(gradient_angles(rows, 3)[:, 0, 1], right, 1e-14, ratio)


@pytest.mark.parametrize("factor", [3.0, -3.0, 1e2 + 1, 7.0**9, 3.0**18])
def test_parallel_rows_of_unequal_norm_have_no_angle(isa, factor):
    x = torch.tensor([[1.0, 3.0], [1e5, 3e5], [-7.0, 11.0], [0.375, 1023.0]], dtype=torch.float64)
    for row in x:
        angle = float(gradient_angles(torch.stack([row, factor * row]), 0)[0, 1])
        assert angle == (0 if factor > 0 else math.pi)
    assert not gradient_angles(torch.tensor([[1e10, 3e10], [3, 9]], dtype=torch.float64), 0).any()
    assert min_angle(torch.stack([x[0], abs(factor) * x[0]]), 5) == 0


@pytest.mark.parametrize("ratio", [1e-15, 1e-16, 1e-17])
def test_angles_far_below_one_ulp_are_told_apart_where_samples_show_them(isa, ratio):
    x = torch.tensor([[1.0, 0.0, 2.0], [3.0, ratio, 6.0]], dtype=torch.float64)
    right = [exact.input_angle(*x.tolist())]
    assert_relatively_close(gradient_angles(x, 0)[0, 1:], right, 1e-14, ratio)
    assert_relatively_close(gradient_angles(x.flip(0), 0)[0, 1:], right, 1e-14, ratio)


def test_gradients_more_than_a_right_angle_apart_are_as_accurate(isa):
    """At depth 1 samples beyond 114 degrees have gradients at obtuse angles, 1 - cos phi > 1."""
    x = pairs(np.linspace(2, 3.1, 12), 5)
    right = [exact.gradient_angle(exact.input_angle(*pair.tolist()), 1) for pair in x]
    assert_relatively_close(gradient_angles(x, 1)[:, 0, 1], right, 1e-14, "obtuse")


@pytest.mark.parametrize("depth", DEPTHS)
def test_equal_samples_have_angle_zero(isa, depth):
    x = samples(1, 7).expand(3, 7)
    zero = torch.zeros(3, 3, dtype=torch.float64)
    assert torch.equal(embedding_angles(x, depth), zero)
    assert torch.equal(gradient_angles(x, depth), zero)
    if depth:
        assert torch.equal(gradient_angles(x, depth, "grelu"), zero)


@pytest.mark.parametrize("depth", DEPTHS)
def test_opposite_samples(isa, depth):
    x = samples(1, 7) * torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    pi = exact.mp.pi
    assert_relatively_close(embedding_angles(x, depth)[0, 1:], [exact.angles(pi, depth)[depth]], 1e-15, depth)
    assert_relatively_close(gradient_angles(x, depth)[0, 1:], [exact.gradient_angle(pi, depth)], 1e-14, depth)
    assert float(gradient_angles(x, depth, "linear")[0, 1]) == math.pi


def test_angles_of_float32_samples_are_those_of_their_values():
    x = samples(6, 4).float()
    assert gradient_angles(x, 3).dtype == torch.float64
    assert torch.equal(gradient_angles(x, 3), gradient_angles(x.double(), 3))


def test_linear_networks_keep_the_angle_of_the_samples():
    x = samples(6, 4)
    for depth in (0, 1, 9):
        assert torch.equal(gradient_angles(x, depth, "linear"), embedding_angles(x, 0))
    assert torch.equal(gradient_angles(x, 0), embedding_angles(x, 0))


def test_angles_are_symmetric_with_zero_diagonal(isa):
    for result in (embedding_angles(samples(40, 3), 2), gradient_angles(samples(40, 3), 2)):
        assert torch.equal(result, result.mT)
        assert not result.diagonal().any()


def test_angles_agree_with_the_kernel():
    x = samples(8, 5)
    for activation in ("relu", "linear", "grelu"):
        expected = angles_from_kernel(infinite(x, depth=3, activation=activation))
        torch.testing.assert_close(gradient_angles(x, 3, activation), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("factor", [1e-200, 1e-30, 1e30, 1e200])
def test_angles_do_not_depend_on_the_scale(factor):
    x = samples(5, 4)
    torch.testing.assert_close(gradient_angles(x * factor, 3), gradient_angles(x, 3), rtol=1e-13, atol=0)
    torch.testing.assert_close(embedding_angles(x * factor, 3), embedding_angles(x, 3), rtol=1e-13, atol=0)
    assert min_angle(x * factor, 3) == pytest.approx(min_angle(x, 3), rel=1e-13)


def test_batches_strided_numpy_and_requires_grad(isa):
    x = samples(24, 8).view(2, 3, 4, 8)
    for function in (embedding_angles, gradient_angles):
        result = function(x[..., ::2], 2)
        assert result.shape == (2, 3, 4, 4)
        assert torch.equal(result[1, 2], function(x[1, 2, :, ::2].clone(), 2))
        assert torch.equal(function(x[0, 0].clone().requires_grad_(), 2), function(x[0, 0], 2))
        as_array = function(x[0, 0].numpy(), 2)
        assert isinstance(as_array, np.ndarray)
        np.testing.assert_array_equal(as_array, function(x[0, 0], 2).numpy())


# The smallest angle


@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
@pytest.mark.parametrize("block", [1, 8 * 31 * 5, 32 << 20])
def test_min_angle_is_the_smallest_gradient_angle_for_any_block(isa, monkeypatch, activation, block):
    monkeypatch.setattr(angles, "BLOCK_BYTES", block)
    x = samples(31, 3)
    whole = gradient_angles(x, 3, activation)
    result = min_angle(x, 3, activation)
    assert isinstance(result, float)
    assert result == pytest.approx(float(whole[~torch.eye(31, dtype=torch.bool)].min()), rel=1e-13)


def test_min_angle_finds_the_pair_across_blocks(monkeypatch):
    monkeypatch.setattr(angles, "BLOCK_BYTES", 1)
    x = samples(20, 6)
    x[17] = 5 * (x[2] + 1e-10 * samples(1, 6, seed=1)[0])
    theta = exact.input_angle(x[2], x[17])
    assert min_angle(x, 4) == pytest.approx(float(exact.gradient_angle(theta, 4)), rel=1e-5)
    x[19] = 2 * x[0]
    assert min_angle(x, 4) == 0


def test_min_angle_of_all_opposite_samples_is_not_the_excluded_diagonal():
    x = samples(1, 3) * torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    assert min_angle(x, 0) == math.pi


def test_min_angle_never_asks_for_all_pairs_at_once(monkeypatch):
    monkeypatch.setattr(angles, "BLOCK_BYTES", 8 * 50 * 4)
    sizes = []
    compute = angles.ops.infinite_ntk

    def recorded(*arguments):
        result = compute(*arguments)
        sizes.append(result.numel())
        return result

    monkeypatch.setattr(angles.ops, "infinite_ntk", recorded)
    min_angle(samples(50, 3), 2)
    assert max(sizes) <= 50 * 4


# Angles of a finite kernel


def test_angles_from_kernel_are_arc_cosines():
    K = torch.tensor([[4.0, 0.0, 3.0], [0.0, 1.0, -1.0], [3.0, -1.0, 9.0]], dtype=torch.float64)
    result = angles_from_kernel(K)
    assert result[0, 1] == math.pi / 2
    assert result[0, 2] == pytest.approx(math.pi / 3)
    assert result[1, 2] == pytest.approx(math.acos(-1 / 3))
    assert not result.diagonal().any()
    np.testing.assert_array_equal(angles_from_kernel(K.numpy()), result.numpy())
    assert torch.equal(angles_from_kernel(torch.stack([K, 2 * K]))[0], result)
    assert angles_from_kernel(K.float()).dtype == torch.float32


def test_angles_from_kernel_survive_cosines_that_rounding_put_beyond_one():
    K = torch.tensor([[1.0, 1.0 + 1e-15], [1.0 + 1e-15, 1.0]], dtype=torch.float64)
    assert angles_from_kernel(K)[0, 1] == 0
    assert angles_from_kernel(-K + 2 * torch.eye(2) + 1e-15)[0, 1] == pytest.approx(math.pi, abs=1e-7)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_angles_from_kernels_of_extreme_scale(scale):
    K = infinite(samples(4, 3), depth=2)
    torch.testing.assert_close(angles_from_kernel(K * scale), angles_from_kernel(K), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("error", "message", "K"),
    [
        (ValueError, r"K: expected shape \(\.\.\., n, n\)", torch.ones(2, 3)),
        (ValueError, r"K: expected shape \(\.\.\., n, n\)", torch.ones(2)),
        (ValueError, "K: expected finite values", torch.full((2, 2), math.nan)),
        (ValueError, "K: expected a positive diagonal, got 0.0 at sample 1", torch.diag(torch.tensor([1.0, 0.0]))),
        (ValueError, "K: expected a positive diagonal, got -1.0 at sample 0", -torch.eye(2)),
        (TypeError, "K: expected float32 or float64", torch.ones(2, 2, dtype=torch.int64)),
        (TypeError, "K: expected a torch tensor or numpy array, got str", "K"),
    ],
)
def test_bad_kernels_are_refused_by_name(error, message, K):
    with pytest.raises(error, match=message):
        angles_from_kernel(K)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angles_of_a_kernel_that_lost_its_digits_are_refused(dtype):
    K = torch.tensor([[3.0, 1.0], [1.0, 3.0]], dtype=dtype)
    smallest = torch.finfo(dtype).smallest_normal
    assert torch.equal(angles_from_kernel(K * smallest), angles_from_kernel(K))
    with pytest.raises(ValueError, match="K: expected a diagonal of at least"):
        angles_from_kernel(K * smallest / 8)


@pytest.mark.parametrize("power", [-1070, -1022, -520, -30, 31, 512, 1015])
def test_the_size_of_the_samples_does_not_matter(isa, power):
    x = torch.from_numpy(np.random.default_rng(0).integers(-15, 16, (20, 3)) + 0.5)
    scaled = torch.from_numpy(np.ldexp(x.numpy(), power))
    for activation in ("relu", "linear", "grelu"):
        assert torch.equal(gradient_angles(scaled, 3, activation), gradient_angles(x, 3, activation))
        assert min_angle(scaled, 3, activation) == min_angle(x, 3, activation)
    mixed = x * 2.0 ** (power % 400 * (torch.arange(20) % 2)).double().unsqueeze(1)
    torch.testing.assert_close(embedding_angles(mixed, 1), embedding_angles(x, 1), rtol=1e-12, atol=0)


# Bad samples


def with_zero_row():
    x = samples(3, 2)
    x[1] = 0
    return x


@pytest.mark.parametrize("function", [embedding_angles, gradient_angles, min_angle])
@pytest.mark.parametrize(
    ("error", "message", "x", "depth"),
    [
        (ValueError, "x: expected at least one sample", torch.zeros(0, 3), 1),
        (ValueError, "x: expected at least one sample and one feature", torch.zeros(3, 0), 1),
        (ValueError, "x: row 1 is all zero, so its angle", with_zero_row(), 1),
        (ValueError, "x: row 1 is all zero, so its angle", with_zero_row(), 0),
        (ValueError, "x: expected finite values, got nan", samples(2, 2) * math.nan, 1),
        (ValueError, "x: expected finite values, got -?inf", samples(2, 2) * math.inf, 1),
        (TypeError, "x: expected float32 or float64, got .*int64", torch.ones(2, 2, dtype=torch.int64), 1),
        (TypeError, "x: expected float32 or float64, got .*float16", torch.ones(2, 2, dtype=torch.half), 1),
        (ValueError, "depth: expected an integer of at least 0, got -1", samples(2, 2), -1),
        (ValueError, "depth: expected at most 1,048,576 hidden layers, got", samples(2, 2), 2**57),
        (TypeError, "depth: expected an integer, got float", samples(2, 2), 1.0),
        (TypeError, "depth: expected an integer, got bool", samples(2, 2), True),
    ],
)
def test_bad_samples_are_refused_by_name(function, error, message, x, depth):
    with pytest.raises(error, match=message):
        function(x, depth)


@pytest.mark.parametrize("function", [gradient_angles, min_angle])
def test_unknown_activations_and_grelu_without_layers_are_refused(function):
    with pytest.raises(ValueError, match="activation: expected one of 'relu', 'linear', 'grelu', got 'gelu'"):
        function(samples(2, 2), 1, "gelu")
    with pytest.raises(ValueError, match="at least 1 for grelu"):
        function(samples(2, 2), 0, "grelu")


def test_one_sample_has_no_pair():
    with pytest.raises(ValueError, match="x: expected at least two samples"):
        min_angle(samples(1, 3), 1)
    assert torch.equal(gradient_angles(samples(1, 3), 1), torch.zeros(1, 1, dtype=torch.float64))


def test_min_angle_takes_one_set_of_samples_only():
    with pytest.raises(ValueError, match=r"x: expected shape \(n, d\)"):
        min_angle(samples(6, 3).view(2, 3, 3), 1)


# Theorems


def fan(thetas):
    """(len(thetas),) angles at each depth come from rows at these angles to the first one."""
    thetas = torch.as_tensor(thetas, dtype=torch.float64)
    return torch.stack([torch.cos(thetas), torch.sin(thetas)], dim=1)


def test_each_layer_contracts_angles_and_keeps_their_order():
    """g is increasing and g(t) <= t ([S, Prop. A.1])."""
    grid = torch.linspace(0, math.pi, 200, dtype=torch.float64)
    before = embedding_angles(fan(grid), 0)[0]
    for depth in range(1, 8):
        after = embedding_angles(fan(grid), depth)[0]
        assert (after.diff() > 0).all()
        assert (after[1:] < before[1:]).all()
        before = after


def test_embeddings_collapse_at_infinite_depth():
    """[S, Thm A.2]: g^l(t) tends to 0, as 3 pi / l."""
    x = samples(10, 4)
    off = ~torch.eye(10, dtype=torch.bool)
    largest = [float(embedding_angles(x, depth)[off].max()) for depth in (10, 100, 1000, 10_000)]
    assert largest == sorted(largest, reverse=True)
    assert all(angle < 3 * math.pi / depth for angle, depth in zip(largest, (10, 100, 1000, 10_000), strict=True))
    assert largest[-1] > 0.95 * 3 * math.pi / 10_000


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("theta", [1e-3, 1e-5, 1e-7])
def test_embedding_angle_shrinks_by_depth_theta_squared_over_three_pi(depth, theta):
    """[S, Cor. 4.3]: theta_l = theta_0 - l theta_0^2 / (3 pi) + O(theta_0^3)."""
    x = fan([0, theta])
    first = float(embedding_angles(x, 0)[0, 1])
    shrunk = first - float(embedding_angles(x, depth)[0, 1])
    assert shrunk == pytest.approx(depth * first**2 / (3 * math.pi), rel=depth * theta + 1e-8)


@pytest.mark.parametrize("depth", [1, 2, 5, 20])
@pytest.mark.parametrize("theta", [1e-4, 1e-8, 1e-12])
def test_gradient_angle_of_close_samples_grows_as_the_root(depth, theta):
    """[S, Thm 4.5]: 1 - cos phi ~ L theta_0 / (2 pi)."""
    phi = float(gradient_angles(fan([0, theta]), depth)[0, 1])
    assert 2 * math.sin(phi / 2) ** 2 == pytest.approx(
        depth * theta / (2 * math.pi), rel=8 * (depth + 1) * theta + 1e-12
    )


def test_gradients_are_further_apart_than_samples_below_60_degrees_and_more_so_with_depth():
    x = fan([0, *np.geomspace(1e-9, math.pi / 3, 40)])
    before = embedding_angles(x, 0)[0, 1:]
    for depth in range(1, 12):
        after = gradient_angles(x, depth)[0, 1:]
        assert (after > before).all()
        before = after


def test_gradient_angles_tend_to_arccos_of_a_quarter():
    """[S, Sec. 7 asks for a right angle; S_L / (L + 1) tends to 1/4.]"""
    x = samples(6, 4)
    off = ~torch.eye(6, dtype=torch.bool)
    worst = [float((torch.cos(gradient_angles(x, depth)[off]) - 0.25).abs().max()) for depth in (100, 1000, 10_000)]
    assert worst == sorted(worst, reverse=True)
    assert worst[-1] < 5e-3


def test_grelu_gradients_become_orthogonal_with_depth():
    x = samples(6, 4)
    off = ~torch.eye(6, dtype=torch.bool)
    cosines = [float(torch.cos(gradient_angles(x, depth, "grelu")[off]).max()) for depth in (1, 10, 100, 3000)]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[-1] < 1e-3
