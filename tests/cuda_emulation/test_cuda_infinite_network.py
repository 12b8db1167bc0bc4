"""Kernels of networks with weight and bias variances by the CUDA kernels: against 60 digits and the CPU's kernels."""

import math

import pytest
import torch
from cases import exact_networks as exact
from cases.devices import made_up

from gatentk import _core
from gatentk.ops import NETWORK_QUANTITIES, infinite_network

DEVICE = made_up(90, 132)
NUMBERS = {name: number.value for name, number in _core.Quantity.__members__.items()}

# activation, slope of leaky_relu, name of its quantity
ACTIVATIONS = [("relu", 0.0), ("leaky_relu", 0.7), ("leaky_relu", -0.4), ("abs", -1.0), ("erf", None), ("gelu", None)]
PIECEWISE = [pair for pair in ACTIVATIONS if pair[1] is not None]
EVERY = pytest.mark.parametrize(("activation", "slope"), ACTIVATIONS)
KERNELS = pytest.mark.parametrize("kernel", ["ntk", "nngp"])
# w_std, b_std
DEVIATIONS = pytest.mark.parametrize("deviations", [(math.sqrt(2), 0.0), (1.5, 0.3), (1.0, 1.0)])
# Every configuration of the table, with the dtype that it is for.
CONFIGURATIONS = pytest.mark.parametrize(
    ("dtype", "configuration"), [(torch.float32, 0), (torch.float32, 1), (torch.float64, 2), (torch.float64, 3)]
)


def samples(n, d, dtype=torch.float64, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def hard_samples(dtype=torch.float64):
    """Norms from 0.03 to 30; a pair that nearly coincides, one that differs by its norm alone, opposite ones."""
    x = samples(7, 4) * torch.tensor([1, 0.03, 30, 1, 1, 1, 1], dtype=torch.float64).unsqueeze(-1)
    x[3] = x[0] * (1 + 1e-7) + 1e-9 * x[1]
    x[4] = 1.5 * x[0]
    x[5] = -x[0]
    x[6] = -x[0] + 1e-4 * samples(1, 4, seed=2)
    return x.to(dtype)


def parameters(d, slope, w_std, b_std):
    """Slope, first, weight, bias."""
    return [slope or 0.0, w_std * w_std / d, w_std * w_std, b_std * b_std]


def quantity_of(slope, activation, kernel):
    name = activation if slope is None else "leaky_relu"
    return f"{name}_nngp" if kernel == "nngp" else name


def view(x):
    return (x.data_ptr(), *x.shape, x.stride(0), (0, 0), False)


def infinite(emulated, x, z, depths, quantity, network, configuration=-1, device=DEVICE):
    """As `gatentk.ops.infinite_network`; whatever is not written stays NaN."""
    columns = x if z is None else z
    n, n_z = len(x), len(columns)
    out = torch.full((len(depths), n, n_z), math.nan, dtype=x.dtype)
    suffix = "f32" if x.dtype == torch.float32 else "f64"
    problem = (NUMBERS[quantity], depths, z is None, network, view(x), view(columns))
    size = getattr(emulated, f"infinite_network_workspace_{suffix}")(*problem)
    workspace = torch.full((size,), math.nan, dtype=x.dtype)
    run = getattr(emulated, f"infinite_network_{suffix}")
    run(*problem, out.data_ptr(), n * n_z, n_z, workspace.data_ptr(), device, configuration=configuration)
    return out


def of_cpu(x, z, depths, quantity, network):
    slope, first, weight, bias = network
    options = {"slope": slope, "first": first, "weight": weight, "bias": bias}
    return infinite_network(x.double(), None if z is None else z.double(), depths, quantity, **options)


def sizes(x, z, depths, quantity, network):
    """sqrt(K(x, x) K(z, z)) of all pairs at every depth."""
    own, other = (
        of_cpu(side, None, depths, quantity, network).diagonal(dim1=-2, dim2=-1).sqrt()
        for side in (x, x if z is None else z)
    )
    return own.unsqueeze(-1) * other.unsqueeze(-2)


def assert_close(out, x, z, depths, quantity, network, tolerance=None):
    """To the CPU's kernels, relative to the kernels of the samples and themselves."""
    error = (out.double() - of_cpu(x, z, depths, quantity, network)).abs()
    if tolerance is None:
        tolerance = 1e-13 if x.dtype == torch.float64 else 2e-6
    assert (error <= tolerance * sizes(x, z, depths, quantity, network)).all()


# Accuracy


@EVERY
@DEVIATIONS
def test_kernels_are_exact(emulated, activation, slope, deviations):
    depths, x, z = [0, 1, 3], hard_samples()[[0, 1, 3, 5]], torch.cat([samples(1, 4, seed=2), hard_samples()[3:5]])
    network = parameters(4, slope, *deviations)

    def right(a, b, which):
        name = "leaky_relu" if activation == "abs" else activation
        found = exact.kernels(a, b, depths, name, *deviations, slope)
        return [found[depth][which] for depth in depths]

    for which, kernel in enumerate(("ntk", "nngp")):
        for other in (None, z):
            columns = x if other is None else other
            K = infinite(emulated, x, other, depths, quantity_of(slope, activation, kernel), network)
            for i, a in enumerate(x.tolist()):
                for j, b in enumerate(columns.tolist()):
                    own, across = right(a, a, which), right(b, b, which)
                    for k, value in enumerate(right(a, b, which)):
                        error = abs(exact.mp.mpf(float(K[k, i, j])) - value) / exact.mp.sqrt(own[k] * across[k])
                        assert error <= 1e-13, (kernel, depths[k], i, j, float(error))


@pytest.mark.parametrize(
    ("dtype", "configuration", "activation", "slope"),
    [(torch.float32, c, *pair) for c in (0, 1) for pair in PIECEWISE]
    + [(torch.float64, c, *pair) for c in (2, 3) for pair in ACTIVATIONS],
)
@pytest.mark.parametrize(("n", "n_z", "d"), [(1, 2, 2), (37, 70, 19)])
def test_every_configuration_equals_the_cpu(emulated, dtype, configuration, activation, slope, n, n_z, d):
    x, z = samples(n, d, dtype), samples(n_z, d, dtype, seed=1)
    for kernel, deviations in (("ntk", (1.4, 0.0)), ("ntk", (1.2, 0.5)), ("nngp", (1.2, 0.5))):
        quantity, network = quantity_of(slope, activation, kernel), parameters(d, slope, *deviations)
        for other in (None, z):
            out = infinite(emulated, x, other, [0, 1, 2, 7], quantity, network, configuration)
            assert_close(out, x, other, [0, 1, 2, 7], quantity, network)


@EVERY
@KERNELS
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_close_opposite_and_zero_samples_equal_the_cpu(emulated, activation, slope, kernel, size):
    x = torch.cat([hard_samples() * size, torch.zeros(1, 4, dtype=torch.float64)])
    z = torch.cat([x[[7, 2, 3, 5]], samples(3, 4, seed=5)])
    for dtype in (torch.float64, torch.float32)[: 1 if slope is None else 2]:
        for deviations in ((1.2, 0.0), (0.2, 1e-3), (1.5, 0.7)):
            quantity, network = quantity_of(slope, activation, kernel), parameters(4, slope, *deviations)
            for other in (None, z.to(dtype)):
                out = infinite(emulated, x.to(dtype), other, [0, 1, 2, 6], quantity, network)
                assert_close(out, x.to(dtype), other, [0, 1, 2, 6], quantity, network)


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu"])
@pytest.mark.parametrize(("w_std", "b_std"), [(1.5, 1e-8), (1.0, 1e3), (1e-3, 1.0), (10.0, 0.1), (100.0, 0.1)])
def test_extreme_deviations_are_as_exact(emulated, activation, w_std, b_std):
    x, z, slope = hard_samples()[:4], samples(2, 4, seed=1), 0.0 if activation == "relu" else None
    quantity, network = quantity_of(slope, activation, "ntk"), parameters(4, slope, w_std, b_std)
    # An erf that is nearly a step tears close samples apart, and what their angles lack with them.
    tolerance = 1e-11 if activation == "erf" and w_std == 100 else 1e-13
    for other in (None, z):
        out = infinite(emulated, x, other, [1, 4], quantity, network)
        assert_close(out, x, other, [1, 4], quantity, network, tolerance)


@pytest.mark.parametrize("slope", [0.0, 0.01, -1.0])
@pytest.mark.parametrize("depth", [1, 5])
def test_near_duplicates_give_the_right_smallest_eigenvalue(emulated, slope, depth):
    x = samples(4, 4)
    x[3] = x[0] + 1e-9 * samples(1, 4, seed=1)
    K = infinite(emulated, x, None, [depth], "leaky_relu", parameters(4, slope, 1.5, 0.3))[0]
    with exact.mp.workdps(40):
        rows = x.tolist()
        right = [[exact.kernels(a, b, [depth], "leaky_relu", 1.5, 0.3, slope)[depth][0] for b in rows] for a in rows]
        lowest = float(min(exact.mp.eigsy(exact.mp.matrix(right), eigvals_only=True)))
    values = torch.linalg.eigvalsh(K)
    assert abs(float(values[0]) - lowest) <= 10 * 2.3e-16 * float(values[-1])
    assert abs(float(values[0]) - lowest) <= 1e-4 * lowest


@KERNELS
@pytest.mark.parametrize("slope", [0.0, 0.5, -1.0])
@pytest.mark.parametrize("theta", [1e-10, 1e-5, math.pi - 1e-5])
def test_differences_of_close_and_opposite_samples_are_exact(emulated, kernel, slope, theta):
    """1 - K(x, z) / K(x, x) to the rounding of K: an angle that was lost would show as its first power."""
    x = torch.tensor([[1.0, 0.0], [math.cos(theta), math.sin(theta)]], dtype=torch.float64)
    depths, quantity = [0, 1, 5], quantity_of(slope, "leaky_relu", kernel)
    out = infinite(emulated, x, None, depths, quantity, parameters(2, slope, math.sqrt(2), 0.0))
    a, b = x.tolist()
    which = ["ntk", "nngp"].index(kernel)
    for k, depth in enumerate(depths):
        own, other = (
            exact.kernels(a, row, depths, "leaky_relu", math.sqrt(2), 0.0, slope)[depth][which] for row in (a, b)
        )
        found = 1 - float(out[k, 0, 1]) / float(out[k, 0, 0])
        assert abs(found - float(1 - other / own)) <= 3e-16 * (depth + 1)


@pytest.mark.parametrize("place", range(8))
def test_one_wide_angle_among_close_ones_has_the_polynomials_that_serve_it(emulated, place):
    """A warp takes the shortest ones that serve all of its pairs."""
    z = torch.eye(3, dtype=torch.float64)[:1] + 1e-3 * samples(32, 3)
    x = z[:8].clone()
    x[place] = torch.tensor([0.3, 1.0, 0.0], dtype=torch.float64)
    for network in ([0.0, 1.0, 2.0, 0.0], [0.5, 1.0, 1.6, 0.01]):
        out = infinite(emulated, x, z, [1, 3], "leaky_relu", network)
        assert_close(out, x, z, [1, 3], "leaky_relu", network)


# Properties


@CONFIGURATIONS
@KERNELS
def test_symmetric_is_exactly_symmetric_and_equals_rectangular_above_the_diagonal(
    emulated, dtype, configuration, kernel
):
    x = torch.cat([hard_samples(dtype), samples(60, 4, dtype)])
    for activation, slope in (("relu", 0.0), ("abs", -1.0), ("gelu", None))[: 2 if dtype == torch.float32 else 3]:
        quantity, network = quantity_of(slope, activation, kernel), parameters(4, slope, 1.3, 0.4)
        own = infinite(emulated, x, None, [0, 2, 5], quantity, network, configuration)
        assert torch.equal(own, own.mT)
        other = infinite(emulated, x, x.clone(), [0, 2, 5], quantity, network, configuration)
        above = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        assert torch.equal(own[:, above], other[:, above])


@EVERY
def test_diagonals_are_those_of_the_variances(emulated, activation, slope):
    """To an ulp those of the CPU, whatever the angle of a sample and itself came out as."""
    x = hard_samples()
    for kernel in ("ntk", "nngp"):
        quantity, network = quantity_of(slope, activation, kernel), parameters(4, slope, 1.3, 0.4)
        own = infinite(emulated, x, None, [0, 1, 7], quantity, network).diagonal(dim1=1, dim2=2)
        right = of_cpu(x, None, [0, 1, 7], quantity, network).diagonal(dim1=1, dim2=2)
        torch.testing.assert_close(own, right, rtol=1e-15, atol=0)


@EVERY
def test_zero_rows_have_the_kernel_of_their_biases(emulated, activation, slope):
    x = samples(5, 4)
    x[2], x[4] = 0, -0.0
    for kernel in ("ntk", "nngp"):
        quantity = quantity_of(slope, activation, kernel)
        without = infinite(emulated, x, None, [0, 1, 4], quantity, parameters(4, slope, 1.3, 0.0))
        assert (without[:, [2, 4]] == 0).all()
        assert without.isfinite().all()
        network = parameters(4, slope, 1.3, 0.4)
        for other in (None, x.clone()):
            out = infinite(emulated, x, other, [0, 1, 4], quantity, network)
            torch.testing.assert_close(out[:, 2, 4], out[:, 2, 2], rtol=1e-14, atol=0)
            assert_close(out, x, other, [0, 1, 4], quantity, network)


@pytest.mark.parametrize("quantity", NETWORK_QUANTITIES)
@pytest.mark.parametrize("bias", [0.0, 0.2])
def test_nan_is_not_hidden(emulated, quantity, bias):
    x = samples(4, 3)
    x[1, 2] = math.nan
    out = infinite(emulated, x, None, [0, 3], quantity, [0.1, 1.0, 2.0, bias])
    assert out[:, 1].isnan().all()
    assert out[:, :, 1].isnan().all()
    assert not out[:, [0, 2, 3]][:, :, [0, 2, 3]].isnan().any()


@EVERY
@pytest.mark.parametrize("bias", [0.0, 0.2])
def test_sweep_equals_single_depths_bit_for_bit(emulated, activation, slope, bias):
    x, z, depths = samples(12, 4), samples(9, 4, seed=1), [0, 1, 2, 3, 6, 20]
    for kernel in ("ntk", "nngp"):
        quantity, network = quantity_of(slope, activation, kernel), [slope or 0.0, 0.3, 1.9, bias]
        for other in (None, z):
            sweep = infinite(emulated, x, other, depths, quantity, network)
            for index, depth in enumerate(depths):
                assert torch.equal(sweep[index], infinite(emulated, x, other, [depth], quantity, network)[0]), depth


@pytest.mark.parametrize("quantity", ["leaky_relu", "gelu"])
def test_more_depths_than_one_pass_takes(emulated, quantity):
    x, z, network = samples(3, 2), samples(2, 2, seed=1), [0.0, 0.5, 1.9, 0.2]
    depths = list(range(0, 600, 2))
    for other in (None, z):
        out = infinite(emulated, x, other, depths, quantity, network)
        parts = [infinite(emulated, x, other, part, quantity, network) for part in (depths[:100], depths[100:])]
        assert torch.equal(out, torch.cat(parts))
        assert_close(out[-1:], x, other, depths[-1:], quantity, network, 1e-11)


def test_layers_without_a_bias_keep_nothing_and_may_be_any_number(emulated):
    x = samples(3, 2)
    problem = (NUMBERS["leaky_relu_nngp"], [1 << 20], True, [0.0, 1.0, 2.0, 0.0], view(x), view(x))
    assert emulated.infinite_network_workspace_f64(*problem) < 100
    deep = infinite(emulated, x, None, [2000], "leaky_relu_nngp", [0.0, 1.0, 2.0, 0.0])
    norms = x.norm(dim=-1)
    assert ((deep[0] / (norms.unsqueeze(-1) * norms) - 1).abs() <= 1e-4).all()


def test_deep_networks_forget_their_samples_and_tend_to_a_fixed_point(emulated):
    """q = w^2/2 q + b^2 and cos theta = 1 where w^2/2 < 1."""
    K = infinite(emulated, hard_samples(), None, [400], "leaky_relu_nngp", parameters(4, 0.0, 1.0, 0.5))
    torch.testing.assert_close(K, torch.full_like(K, 0.5), rtol=1e-13, atol=0)


def test_odd_and_even_activations_see_signs_as_they_should(emulated):
    x, z = hard_samples(), samples(5, 4, seed=1)
    even, mirrored = (infinite(emulated, x, s, [3], "leaky_relu", [-1.0, 0.4, 1.7, 0.0]) for s in (z, -z))
    torch.testing.assert_close(even, mirrored, rtol=1e-13, atol=1e-13)
    odd, mirrored = (infinite(emulated, x, s, [3], "erf", [0.0, 0.4, 1.7, 0.0]) for s in (z, -z))
    torch.testing.assert_close(odd, -mirrored, rtol=1e-13, atol=1e-15)


@CONFIGURATIONS
def test_every_order_of_lanes_gives_the_same_bits(emulated, dtype, configuration):
    x = samples(70, 40, dtype)
    for quantity in ("leaky_relu", "erf")[: 1 if dtype == torch.float32 else 2]:
        results = []
        for order in ("forward", "reversed", "shuffled"):
            emulated.set_lane_order(order, seed=3)
            results.append(infinite(emulated, x, None, [1, 6], quantity, [0.0, 0.1, 1.5, 0.3], configuration))
        emulated.set_lane_order("forward")
        assert torch.equal(results[0], results[1])
        assert torch.equal(results[0], results[2])


def test_outputs_may_lie_apart_and_rows_start_anywhere(emulated):
    wide = samples(5, 9)
    x, network = wide[:, 1:4], [0.0, 1.0, 2.0, 0.3]
    out = torch.full((2, 3, 5, 9), math.nan, dtype=torch.float64)
    problem = (NUMBERS["gelu"], [1, 2], True, network, view(x), view(x))
    workspace = torch.empty(emulated.infinite_network_workspace_f64(*problem), dtype=torch.float64)
    emulated.infinite_network_f64(*problem, out[:, 1, :, 2:].data_ptr(), 135, 9, workspace.data_ptr(), DEVICE)
    assert torch.equal(out[:, 1, :, 2:7], infinite(emulated, x.contiguous(), None, [1, 2], "gelu", network))
    assert out.isnan().sum() == out.numel() - 50


def test_no_samples_and_no_depths(emulated):
    x, network = samples(3, 2), [0.0, 1.0, 2.0, 0.3]
    assert infinite(emulated, x[:0], None, [1], "erf", network).shape == (1, 0, 0)
    assert infinite(emulated, x, x[:0], [1], "leaky_relu", network).shape == (1, 3, 0)
    assert infinite(emulated, x, None, [], "leaky_relu", network).shape == (0, 3, 3)


def test_what_the_kernels_do_not_take_is_refused(emulated):
    x = samples(3, 2)
    memory = torch.empty(10000, dtype=torch.float64)

    def run(quantity="leaky_relu", depth=1, transposed=False, configuration=-1, offset=0, kind="f64"):
        left = (*view(x)[:5], transposed)
        number = NUMBERS[quantity] if isinstance(quantity, str) else quantity
        getattr(emulated, f"infinite_network_{kind}")(
            *(number, [depth], True, [0.0, 1.0, 2.0, 0.1], left, view(x), memory.data_ptr(), 9, 3),
            *(memory.data_ptr() + offset, DEVICE, configuration),
        )

    for message, wrong in (
        ("quantity: expected an index in Quantity of a network, got 0", {"quantity": "relu"}),
        ("quantity: .* got 99", {"quantity": 99}),
        ("infinite_network: expected a depth below 2", {"depth": 2**31}),
        ("infinite_network: expected samples in rows", {"transposed": True}),
        ("infinite_network: no such configuration", {"configuration": 0}),
        ("infinite_network: expected doubles for erf and GELU", {"quantity": "erf", "kind": "f32"}),
        ("infinite_network: expected a workspace at a multiple of 16 bytes", {"offset": 8}),
    ):
        with pytest.raises(ValueError, match=message):
            run(**wrong)
    with pytest.raises(RuntimeError, match=r"^infinite_network: needs 18432 bytes of shared memory .* has 1024$"):
        infinite(emulated, x, None, [1], "leaky_relu", [0.0, 1.0, 2.0, 0.1], device=made_up(80, 108, 1024))


def test_configurations_are_those_of_infinite_ntk(emulated):
    table, own = emulated.infinite_network_configurations(), emulated.infinite_ntk_configurations()
    assert [entry["name"] for entry in table] == [*(entry["name"] for entry in own[:-1]), "samples"]
    assert [entry["shared_bytes"] for entry in table[:-1]] == [entry["shared_bytes"] for entry in own[:-1]]
    assert table[2]["kernels"] == ["piecewise_network<double, 64>", "smooth_network<double, 64>"]
