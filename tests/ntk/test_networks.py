"""Kernels with weight and bias variances against 60 digits, their properties, and every refusal."""

import math

import numpy as np
import pytest
import torch
from cases import exact_networks as exact

from gatentk.ntk import infinite, infinite_sweep, networks

ACTIVATIONS = [("relu", None), ("leaky_relu", None), ("leaky_relu", 0.7), ("leaky_relu", -0.4), ("abs", None)]
ACTIVATIONS += [("erf", None), ("gelu", None), ("linear", None)]
EVERY = pytest.mark.parametrize(("activation", "slope"), ACTIVATIONS)
DEVIATIONS = [(math.sqrt(2), 0.0), (1.5, 0.3), (1.0, 1.0), (None, None), (0.2, 1e-3)]
KERNELS = pytest.mark.parametrize("kernel", ["ntk", "nngp"])
OPTIONS = [
    {"w_std": 1.5, "b_std": 0.3},
    {"w_std": 1.0, "b_std": 1.0, "activation": "leaky_relu", "slope": 0.5},
    {"w_std": 0.9, "activation": "abs"},
    {"w_std": 1.5, "b_std": 0.3, "activation": "erf"},
    {"w_std": 1.5, "activation": "gelu"},
    {"b_std": 0.2, "activation": "linear"},
]
ANY = pytest.mark.parametrize("options", OPTIONS, ids=lambda o: o.get("activation", "relu"))


def samples(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hard_samples():
    """Norms from 0.03 to 30; a pair that nearly coincides, one that differs by its norm alone, one opposite."""
    x = samples(6, 4) * torch.tensor([1, 0.03, 30, 1, 1, 1], dtype=torch.float64).unsqueeze(-1)
    x[3] = x[0] * (1 + 1e-7) + 1e-9 * x[1]
    x[4] = 1.5 * x[0]
    x[5] = -x[0]
    return x


def assert_exact(K, x, z, depths, activation, kernel, w_std, b_std, slope, tolerance=1e-13):
    """|K - exact| <= tolerance sqrt(K(x,x) K(z,z)) at each depth."""
    which = ["ntk", "nngp"].index(kernel)

    def at(a, b):
        found = exact.kernels(a, b, depths, activation, w_std, b_std, slope)
        return [found[depth][which] for depth in depths]

    own, other = ([at(a, a) for a in side.tolist()] for side in (x, z))
    for i, a in enumerate(x.tolist()):
        for j, b in enumerate(z.tolist()):
            for k, right in enumerate(at(a, b)):
                error = abs(exact.mp.mpf(float(K[k, i, j])) - right) / exact.mp.sqrt(own[i][k] * other[j][k])
                assert error <= tolerance, (i, j, depths[k], float(error))


def check(activation, slope, w_std, b_std, depths, x, z, tolerance=1e-13):
    options = {"w_std": w_std, "b_std": b_std, "slope": slope}
    for kernel in ("ntk", "nngp"):
        for other in (None, z):
            K = infinite_sweep(x, other, depths, activation, kernel=kernel, **options)
            assert_exact(
                K, x, x if other is None else other, depths, activation, kernel, **options, tolerance=tolerance
            )


# Accuracy


@EVERY
@pytest.mark.parametrize(("w_std", "b_std"), DEVIATIONS[:3])
def test_kernels_are_exact(isa, activation, slope, w_std, b_std):
    x, z = hard_samples(), torch.cat([samples(1, 4, seed=2), hard_samples()[3:5]])
    check(activation, slope, w_std, b_std, [0, 1, 3], x[[0, 1, 3, 5]], z)


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize(("w_std", "b_std"), DEVIATIONS)
def test_kernels_are_exact_at_every_depth(isa, activation, slope, w_std, b_std):
    x, z = hard_samples(), torch.cat([samples(3, 4, seed=2), hard_samples()[1:5]])
    check(activation, slope, w_std, b_std, [0, 1, 2, 3, 4, 5, 6], x, z)
    check(activation, slope, w_std, b_std, [12], x, z, tolerance=1e-12)


@pytest.mark.parametrize(("activation", "slope"), [("leaky_relu", 0.7), ("erf", None), ("gelu", None), ("abs", None)])
def test_kernels_without_deviations_have_the_gain_that_keeps_the_mean_square(activation, slope):
    check(activation, slope, None, None, [0, 2], hard_samples()[:4], samples(2, 4, seed=1))


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu"])
@pytest.mark.parametrize(("w_std", "b_std"), [(1.5, 1e-8), (1.0, 1e3), (1e-3, 1.0), (10.0, 0.1), (100.0, 0.1)])
def test_extreme_deviations_are_as_exact(isa, activation, w_std, b_std):
    """An erf that is nearly a step tears close samples apart, and what their angles lack with them."""
    tolerance = 1e-11 if activation == "erf" and w_std == 100 else 1e-13
    check(activation, None, w_std, b_std, [1, 4], hard_samples()[:4], samples(2, 4, seed=1), tolerance)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 30.0, 1e4])
@pytest.mark.parametrize("activation", ["relu", "abs", "erf", "gelu"])
@pytest.mark.parametrize("b_std", [0.0, 0.5])
def test_samples_of_any_size_are_as_exact(isa, activation, size, b_std):
    x = hard_samples()[[0, 1, 3, 5]] * size
    check(activation, None, 1.2, b_std, [1, 3], x, x[:2] + 1)


def test_moments_of_the_oracle_are_integrals():
    """E[f(u) f(v)] by a sum over a fine grid of two independent normal numbers."""
    g = np.linspace(-9, 9, 301)
    weight = np.exp(-np.square(g) / 2)
    weight /= weight.sum()
    erf = np.vectorize(math.erf)
    p, c, r = 1.3, -0.7, 0.9
    u = math.sqrt(p) * g[:, None] + 0 * g
    v = c / math.sqrt(p) * g[:, None] + math.sqrt(r - c * c / p) * g
    functions = {
        "relu": (lambda z: np.maximum(z, 0), lambda z: z > 0),
        "leaky_relu": (lambda z: np.where(z > 0, z, 0.3 * z), lambda z: np.where(z > 0, 1, 0.3)),
        "abs": (np.abs, np.sign),
        "erf": (erf, lambda z: 2 / math.sqrt(math.pi) * np.exp(-np.square(z))),
        "gelu": (
            lambda z: z * (1 + erf(z / math.sqrt(2))) / 2,
            lambda z: (1 + erf(z / math.sqrt(2))) / 2 + z * np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi),
        ),
    }
    for name, pair in functions.items():
        right = exact.moments(name, 0.3)(exact.mp.mpf(p), exact.mp.mpf(c), exact.mp.mpf(r))
        for function, value in zip(pair, right, strict=True):
            found = float((weight[:, None] * weight * function(u) * function(v)).sum())
            assert found == pytest.approx(float(value), abs=1e-9 if name in ("erf", "gelu") else 0.03), name


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs"])
@pytest.mark.parametrize("depth", [1, 5])
def test_near_duplicates_give_the_right_smallest_eigenvalue(isa, activation, depth):
    x = samples(4, 4)
    x[3] = x[0] + 1e-9 * samples(1, 4, seed=1)
    K = infinite(x, depth=depth, activation=activation, w_std=1.5, b_std=0.3)
    with exact.mp.workdps(40):
        right = [[exact.kernels(a, b, [depth], activation, 1.5, 0.3)[depth][0] for b in x.tolist()] for a in x.tolist()]
        lowest = float(min(exact.mp.eigsy(exact.mp.matrix(right), eigvals_only=True)))
    values = torch.linalg.eigvalsh(K)
    assert abs(float(values[0]) - lowest) <= 10 * 2.3e-16 * float(values[-1])
    assert abs(float(values[0]) - lowest) <= 1e-4 * lowest


# Properties


@ANY
@KERNELS
def test_kernels_are_symmetric_and_positive(isa, kernel, options):
    x = torch.cat([samples(40, 5), hard_samples() @ samples(4, 5, seed=3)])
    K = infinite(x, depth=3, kernel=kernel, **options)
    assert torch.equal(K, K.mT)
    values = torch.linalg.eigvalsh(K)
    assert values[0] >= -50 * torch.finfo(K.dtype).eps * values[-1]


@ANY
@KERNELS
def test_exchanged_sides_give_the_transposed_kernel_and_a_copy_the_square_one(isa, kernel, options):
    x, z = hard_samples(), samples(17, 4, seed=1)
    K = infinite(x, z, 3, kernel=kernel, **options)
    scale = infinite(x, depth=3, kernel=kernel, **options).diagonal().sqrt().unsqueeze(-1)
    scale = scale * infinite(z, depth=3, kernel=kernel, **options).diagonal().sqrt()
    assert ((K - infinite(z, x, 3, kernel=kernel, **options).mT).abs() <= 1e-14 * scale).all()
    own, copy = infinite(x, depth=3, kernel=kernel, **options), infinite(x, x.clone(), 3, kernel=kernel, **options)
    torch.testing.assert_close(own, copy, rtol=1e-13, atol=1e-13 * float(own.diagonal().max()))


@ANY
@KERNELS
def test_zero_rows_have_the_kernel_of_their_biases_and_change_no_other(isa, kernel, options):
    x, z = samples(11, 4), samples(6, 4, seed=1)
    kept = [i for i in range(11) if i not in (3, 10)]
    x[[3, 10]], z[2] = 0, -0.0
    for other in (None, z):
        K = infinite(x, other, 3, kernel=kernel, **options)
        right = x[kept] if other is None else other
        torch.testing.assert_close(
            K[kept][:, kept] if other is None else K[kept], infinite(x[kept], right, 3, kernel=kernel, **options)
        )
        assert K.isfinite().all()
        if not options.get("b_std"):
            assert (K[[3, 10]] == 0).all()
    zeros = torch.zeros(1, 4, dtype=torch.float64)
    nearly = infinite(1e-12 * samples(1, 4), z, 3, kernel=kernel, **options)
    torch.testing.assert_close(infinite(zeros, z, 3, kernel=kernel, **options), nearly, rtol=1e-9, atol=1e-11)


@KERNELS
@pytest.mark.parametrize(
    ("activation", "slope"), [("relu", None), ("leaky_relu", 0.3), ("abs", None), ("linear", None)]
)
@pytest.mark.parametrize("power", [-300, -20, 3, 200])
def test_samples_and_biases_scale_together(isa, kernel, activation, slope, power):
    x, z = hard_samples(), samples(5, 4, seed=1)
    for other in (None, z):
        K = infinite(x, other, 3, activation, kernel=kernel, w_std=1.5, b_std=0.3, slope=slope)
        scaled = infinite(
            x * 2.0**power,
            None if other is None else other * 2.0**power,
            *(3, activation),
            kernel=kernel,
            w_std=1.5,
            b_std=0.3 * 2.0**power,
            slope=slope,
        )
        torch.testing.assert_close(scaled, K * 2.0**power * 2.0**power, rtol=1e-14, atol=0)


@KERNELS
def test_slopes_name_the_piecewise_linear_activations(isa, kernel):
    x, z = hard_samples(), samples(5, 4, seed=1)
    for other in (None, z):
        for deviations in ({"w_std": 1.3, "b_std": 0.4}, {"w_std": 1.3}, {}):
            options = dict(depth=3, kernel=kernel, **deviations)
            of_slope = {s: infinite(x, other, activation="leaky_relu", slope=s, **options) for s in (0, -1, 1, 0.01)}
            for slope, activation in ((0, "relu"), (-1, "abs"), (1, "linear"), (0.01, "leaky_relu")):
                right = infinite(x, other, activation=activation, **options)
                torch.testing.assert_close(of_slope[slope], right, rtol=1e-13, atol=1e-14 * float(right.abs().max()))


def test_even_activations_do_not_see_signs_and_odd_ones_give_them_back(isa):
    x, z = hard_samples(), samples(5, 4, seed=1)
    for b_std in (0.0, 0.4):
        options = {"depth": 3, "w_std": 1.3, "b_std": b_std}
        even, mirrored = (infinite(x, side, activation="abs", **options) for side in (z, -z))
        if not b_std:
            torch.testing.assert_close(even, mirrored, rtol=1e-13, atol=1e-13)
    odd, mirrored = (infinite(x, side, activation="erf", depth=3, w_std=1.3) for side in (z, -z))
    torch.testing.assert_close(odd, -mirrored, rtol=1e-13, atol=1e-15)


def test_relu_in_the_papers_parametrisation_is_that_of_dense_layers_of_unit_gain():
    x, z = samples(5, 3), samples(4, 3, seed=1)
    for depth in (0, 1, 4):
        dense = infinite(x, z, depth, w_std=math.sqrt(2))
        torch.testing.assert_close(dense * 3 / 2, infinite(x, z, depth), rtol=1e-13, atol=1e-14)
    assert torch.equal(infinite(x, depth=2, b_std=0.3), infinite(x, depth=2, w_std=math.sqrt(2), b_std=0.3))
    torch.testing.assert_close(infinite(x, z, 3, "linear", kernel="nngp"), x @ z.T)


@ANY
def test_sweeps_batches_numpy_and_threads_give_the_same(isa, options):
    x, z = samples(2 * 30, 4).view(2, 30, 4), samples(2 * 9, 4, seed=1).view(2, 9, 4)
    for other in (None, z):
        sweep = infinite_sweep(x, other, [4, 0, 1, 1], **options)
        assert sweep.shape == (4, 2, 30, 30 if other is None else 9)
        for index, depth in enumerate([4, 0, 1, 1]):
            torch.testing.assert_close(sweep[index], infinite(x, other, depth, **options), rtol=1e-14, atol=1e-15)
        member = infinite(x[1], None if other is None else other[1], 4, **options)
        assert torch.equal(sweep[0, 1], member)
    as_array = infinite(x[0].numpy(), depth=2, **options)
    assert isinstance(as_array, np.ndarray)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(infinite(samples(150, 6), depth=3, **options))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


@ANY
@KERNELS
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_float32_kernels_are_those_of_float64_rounded(isa, kernel, options, size):
    x = hard_samples().float() * size
    single, double = (infinite(x, depth=3, kernel=kernel, dtype=t, **options) for t in ("float32", "float64"))
    assert single.dtype == torch.float32
    scale = double.diagonal().sqrt()
    assert ((single - double).abs() <= 2e-6 * scale.unsqueeze(-1) * scale).all()


def test_deep_networks_forget_their_samples_and_tend_to_a_fixed_point(isa):
    """q = w^2/2 q + b^2 and cos theta = 1 where w^2/2 < 1."""
    K = infinite(hard_samples(), depth=400, kernel="nngp", w_std=1.0, b_std=0.5)
    torch.testing.assert_close(K, torch.full_like(K, 0.5), rtol=1e-13, atol=0)


# Refusals


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "kernel: expected one of 'ntk', 'nngp', got 'rbf'", {"kernel": "rbf"}),
        (ValueError, "activation: expected one of .*'gelu', got 'tanh'", {"activation": "tanh"}),
        (ValueError, "slope: expected none for relu, got 0.1", {"slope": 0.1}),
        (ValueError, "slope: expected a number of .*, got nan", {"activation": "leaky_relu", "slope": math.nan}),
        (TypeError, "slope: expected a number, got str", {"activation": "leaky_relu", "slope": "0.1"}),
        (TypeError, "w_std: expected a number, got str", {"w_std": "1"}),
        (TypeError, "b_std: expected a number, got bool", {"b_std": True}),
        (ValueError, "w_std: expected a number of 1e-100 to 1e[+]100, got 0.0", {"w_std": 0}),
        (ValueError, "w_std: expected a number of .*, got -1.0", {"w_std": -1}),
        (ValueError, "w_std: expected a number of .*, got inf", {"w_std": math.inf}),
        (ValueError, "b_std: expected a number of 0 to 1e[+]100, got -0.1", {"b_std": -0.1}),
        (ValueError, "b_std: expected 0 or at least 1e-100, got 1e-200", {"b_std": 1e-200}),
        (ValueError, "kernel: expected the NTK .* grelu, got 'nngp'", {"activation": "grelu", "kernel": "nngp"}),
        (ValueError, "w_std: expected the NTK .* grelu, got 1.0", {"activation": "grelu", "w_std": 1.0}),
        (ValueError, "b_std: expected the NTK .* grelu, got 1.0", {"activation": "grelu", "b_std": 1.0}),
        (ValueError, "gates: expected none for erf", {"activation": "erf", "gates": "deep"}),
        (ValueError, "components: expected False with kernel, w_std", {"kernel": "nngp", "components": True}),
        (ValueError, "components: expected False .* got True", {"activation": "erf", "components": True}),
        (ValueError, "depth: expected at most 4,096 hidden layers", {"depth": 5000, "b_std": 0.1}),
        (ValueError, "depth: expected at most 4,096 hidden layers", {"depth": 5000, "activation": "gelu"}),
        (ValueError, "w_std: kernels of depth 400 overflow torch.float64", {"depth": 400, "w_std": 100.0}),
        (
            ValueError,
            "w_std: kernels of depth 400 overflow torch.float64",
            {"depth": 400, "w_std": 100.0, "b_std": 1.0},
        ),
        (ValueError, "w_std: kernels of depth 400 underflow torch.float64", {"depth": 400, "w_std": 0.01}),
        (
            ValueError,
            "w_std: kernels of depth 40 overflow torch.float32",
            {"depth": 40, "w_std": 20.0, "dtype": "float32"},
        ),
    ],
)
def test_bad_options_are_refused_by_name(error, message, options):
    with pytest.raises(error, match=message):
        infinite(samples(3, 2), **options)
    if "components" not in options:
        depth = options.pop("depth", 1)
        with pytest.raises(error, match=message):
            infinite_sweep(samples(3, 2), depths=[depth], **options)


@pytest.mark.parametrize("size", [1e155, 1e200])
def test_samples_whose_squares_overflow_are_refused(size):
    for options in ({"b_std": 0.1}, {"activation": "erf"}, {"activation": "linear", "b_std": 1.0}, {"kernel": "nngp"}):
        with pytest.raises(ValueError, match=r"x: squared norms (overflow|are too large)|overflow torch.float64"):
            infinite(samples(3, 2) * size, **options)


def test_what_a_network_is_follows_from_the_arguments():
    assert networks.chosen_network("ntk", "relu", None, None, None) is None
    network = networks.chosen_network("ntk", "abs", None, None, None)
    assert network is not None
    assert network.variances(7) == (1, 1, 0)
    assert networks.chosen_network("nngp", "relu", 2, 3, None).variances(8) == (0.5, 4, 9)
