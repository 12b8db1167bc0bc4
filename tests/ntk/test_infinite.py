"""Infinite-width kernels against 100 digits, their limits, the theorems of the two papers, and every refusal."""

import itertools

import numpy as np
import pytest
import torch
from cases import exact

import gatentk as gt
from gatentk import reference
from gatentk.ntk import gradient_angles, infinite, infinite_sweep

DEPTHS = [*range(21), 100]


def samples(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit_samples(n, d, seed=0):
    return torch.nn.functional.normalize(samples(n, d, seed))


def times_power_of_two(x, power):
    return torch.from_numpy(np.ldexp(x.numpy(), power))


def hard_samples():
    """Norms from 0.1 to 10, a pair 1e-9 apart, one of equal direction, one opposite, one orthogonal."""
    x = samples(7, 3) * torch.tensor([0.1, 1, 10, 1, 3, 0.5, 1], dtype=torch.float64).unsqueeze(-1)
    x[3] = x[1] + 1e-9 * samples(1, 3, seed=1)
    x[4] = 2 * x[2]
    x[5] = -x[0]
    x[6] = torch.linalg.cross(x[0], x[1])
    return x


def rotated(theta, d=5, seed=0):
    """Two unit rows at an angle of about theta."""
    u = torch.linalg.qr(samples(d, 2, seed)).Q.T
    return torch.stack([u[0], np.cos(theta) * u[0] + np.sin(theta) * u[1]])


def condition(K):
    values = torch.linalg.eigvalsh(K)
    return float(values[-1] / values[0])


def assert_within(K, x, z, depth, activation, tolerance):
    """|K - exact| <= tolerance sqrt(K(x,x) K(z,z))."""
    layers = depth if activation == "grelu" else depth + 1
    for i, a in enumerate(x.tolist()):
        for j, b in enumerate(z.tolist()):
            factor = exact.kernel_factor(exact.input_angle(a, b), depth, activation) / layers
            scale = layers * exact.norm(a) * exact.norm(b)
            assert abs(float(exact.mp.mpf(float(K[i, j])) / scale - factor)) <= tolerance, (i, j)


# Accuracy


@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
def test_kernel_is_exact_to_1e14_of_the_diagonal(isa, activation):
    x, z = hard_samples(), torch.cat([samples(3, 3, seed=2), hard_samples()[1:3]])
    depths = [depth for depth in DEPTHS if depth or activation != "grelu"]
    own = infinite_sweep(x, depths=depths, activation=activation)
    other = infinite_sweep(x, z, depths=depths, activation=activation)
    for index, depth in enumerate(depths):
        assert_within(own[index], x, x, depth, activation, 1e-14)
        assert_within(other[index], x, z, depth, activation, 1e-14)


def test_diagonal_is_analytic(isa):
    x = hard_samples()
    squared = x.square().sum(-1)
    for depth in (0, 1, 7):
        torch.testing.assert_close(infinite(x, depth=depth).diagonal(), (depth + 1) * squared, rtol=1e-15, atol=0)
    torch.testing.assert_close(infinite(x, depth=3, activation="grelu").diagonal(), 3 * squared, rtol=1e-15, atol=0)


def test_kernel_is_exactly_symmetric(isa):
    for activation in ("relu", "linear", "grelu"):
        K = infinite(samples(70, 5), depth=3, activation=activation)
        assert torch.equal(K, K.mT)


@pytest.mark.parametrize("activation", ["relu", "grelu"])
@pytest.mark.parametrize("depth", [1, 5, 20])
def test_near_duplicates_give_a_definite_kernel_with_the_right_smallest_eigenvalue(isa, activation, depth):
    x = samples(6, 4)
    x[5] = x[0] + 1e-9 * samples(1, 4, seed=1)
    values = torch.linalg.eigvalsh(infinite(x, depth=depth, activation=activation))
    with exact.mp.workdps(50):
        right = exact.mp.eigsy(exact.mp.matrix(exact.kernel(x, x, depth, activation)), eigvals_only=True)
    lowest = float(min(right))
    assert values[0] > 0
    assert abs(float(values[0]) - lowest) <= 6 * 2.3e-16 * float(values[-1])
    assert abs(float(values[0]) - lowest) <= 1e-4 * lowest


@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
def test_float32_kernel_is_as_accurate_as_plain_float32(isa, activation):
    x = hard_samples().float()
    for depth in (1, 4, 20):
        K = infinite(x, depth=depth, activation=activation, dtype=torch.float32)
        assert K.dtype == torch.float32
        assert_within(K, x, x, depth, activation, 1e-6)


def test_float32_samples_are_taken_as_they_are():
    x = samples(5, 3).float()
    assert torch.equal(infinite(x, depth=2), infinite(x.double(), depth=2))


def test_nearly_equal_samples_keep_their_kernel_apart_from_the_diagonal():
    x = rotated(1e-7)
    K = infinite(x, depth=10)
    theta = exact.input_angle(*x.tolist())
    gap = 11 - exact.kernel_factor(theta, 10, "relu")
    assert abs(float(K[0, 0] - K[0, 1]) - float(gap)) < 5e-15 * 11


# Sweeps and components


@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
def test_sweep_equals_single_depths_bit_for_bit_in_any_order_with_repeats(isa, activation):
    x, z = samples(30, 4), samples(9, 4, seed=1)
    depths = [7, 1, 3, 3, 20, 2] + ([] if activation == "grelu" else [0])
    for other in (None, z):
        sweep = infinite_sweep(x, other, depths=depths, activation=activation)
        for index, depth in enumerate(depths):
            single = infinite(x, other, depth=depth, activation=activation)
            assert torch.equal(sweep[index], single), depth


def test_sweep_takes_any_iterable_of_depths():
    x = samples(3, 2)
    expected = infinite_sweep(x, depths=[1, 4])
    assert torch.equal(infinite_sweep(x, depths=iter((1, 4))), expected)
    assert torch.equal(infinite_sweep(x, depths=np.array([1, 4])), expected)
    assert infinite_sweep(x).shape == (11, 3, 3)


@pytest.mark.parametrize("depth", [0, 1, 2, 6, 30])
@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
def test_components_sum_to_the_kernel(isa, activation, depth):
    if activation == "grelu" and depth == 0:
        pytest.skip("nothing is trained")
    x, z = samples(9, 4), samples(5, 4, seed=1)
    for other in (None, z):
        parts = infinite(x, other, depth=depth, activation=activation, components=True)
        assert len(parts) == (depth if activation == "grelu" else depth + 1)
        whole = infinite(x, other, depth=depth, activation=activation)
        torch.testing.assert_close(parts.sum(0), whole, rtol=0, atol=1e-14 * float(whole.abs().max()))


@pytest.mark.parametrize("depth", [0, 1, 4, 12])
def test_relu_components_equal_the_formula(isa, depth):
    x = hard_samples()
    parts = infinite(x, depth=depth, components=True)
    for i in range(len(x)):
        for j in range(len(x)):
            theta, scale = exact.input_angle(x[i], x[j]), exact.norm(x[i]) * exact.norm(x[j])
            for layer in range(depth + 1):
                right = exact.component_cosine(theta, depth, layer + 1)
                assert abs(float(exact.mp.mpf(float(parts[layer, i, j])) / scale - right)) < 2e-15, (layer, i, j)


def test_first_component_of_one_hidden_layer_is_the_kernel_with_fixed_output_weights():
    x = samples(6, 3)
    theta = reference.infinite_ntk(x, None, [0], "embedding_angle")[0]
    expected = x @ x.T * (1 - theta / torch.pi)
    torch.testing.assert_close(infinite(x, depth=1, components=True)[0], expected, rtol=1e-13, atol=1e-14)


def test_linear_kernel_is_the_gram_matrix_at_every_depth():
    x, z = samples(6, 3), samples(4, 3, seed=1)
    for depth in (0, 1, 5):
        torch.testing.assert_close(infinite(x, depth=depth, activation="linear"), (depth + 1) * x @ x.T)
        torch.testing.assert_close(infinite(x, z, depth=depth, activation="linear"), (depth + 1) * x @ z.T)
    torch.testing.assert_close(infinite(x, depth=0), x @ x.T)


def test_one_thread_and_two_give_the_same_bits(isa):
    x = samples(150, 6)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(infinite_sweep(x, depths=[1, 5]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


# What comes in


def test_strided_transposed_and_requires_grad_samples_work(isa):
    x = samples(12, 10)
    expected = infinite(x[::2, ::3].contiguous(), x[:, 1:5].contiguous(), depth=2)
    strided, part = x.requires_grad_()[::2, ::3], x[:, 1:5]
    result = infinite(strided, part, depth=2)
    assert torch.equal(result, expected)
    assert result.requires_grad
    transposed = samples(4, 12).T
    assert torch.equal(infinite(transposed, depth=2), infinite(transposed.contiguous(), depth=2))
    repeated = samples(1, 4).expand(3, 4)
    torch.testing.assert_close(infinite(repeated, depth=2), infinite(repeated.clone(), depth=2), rtol=0, atol=0)


def test_numpy_in_gives_numpy_out():
    x = samples(5, 3)
    for array in (x.numpy(), np.asfortranarray(x.numpy()), x.flip(0).numpy()[::-1]):
        K = infinite(array, depth=2)
        assert isinstance(K, np.ndarray)
        np.testing.assert_array_equal(K, infinite(x, depth=2).numpy())
    assert isinstance(infinite_sweep(x.numpy(), depths=[1]), np.ndarray)
    assert isinstance(infinite(x.numpy(), x, depth=1), np.ndarray)
    frozen = x.numpy().copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(infinite(frozen, depth=1), infinite(x, depth=1).numpy())


def test_leading_dimensions_are_batches(isa):
    x, z = samples(2 * 3 * 5, 4).view(2, 3, 5, 4), samples(2 * 3 * 2, 4, seed=1).view(2, 3, 2, 4)
    for activation in ("relu", "linear", "grelu"):
        own = infinite(x, depth=3, activation=activation)
        other = infinite_sweep(x, z, depths=[3, 1], activation=activation)
        assert own.shape == (2, 3, 5, 5)
        assert other.shape == (2, 2, 3, 5, 2)
        for i in range(2):
            for j in range(3):
                assert torch.equal(own[i, j], infinite(x[i, j], depth=3, activation=activation))
                assert torch.equal(other[0, i, j], infinite(x[i, j], z[i, j], depth=3, activation=activation))
    assert infinite(x, depth=2, components=True).shape == (3, 2, 3, 5, 5)


def test_an_empty_batch_gives_an_empty_result_or_a_clear_error():
    try:
        assert infinite(torch.zeros(0, 2, 3), depth=1).shape == (0, 2, 2)
    except ValueError as error:
        assert "x: expected" in str(error)  # noqa: PT017


@pytest.mark.parametrize("exponent", [-500, -40, 40, 500])
@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
def test_scaling_samples_by_a_power_of_two_scales_the_kernel(activation, exponent):
    x, z = samples(5, 3), samples(4, 3, seed=1)
    factor = torch.tensor(2.0, dtype=torch.float64) ** exponent
    for other in (None, z):
        scaled = infinite(x * factor, None if other is None else other * factor, depth=3, activation=activation)
        expected = infinite(x, other, depth=3, activation=activation) * factor * factor
        torch.testing.assert_close(scaled, expected, rtol=1e-15, atol=0)


def exponents_of(dtype):
    """Powers of two from where the kernels of `samples` are just normal numbers to where they are just finite."""
    return [-498, -330, -31, 1, 29, 400, 500] if dtype == torch.float64 else [-56, -31, -24, 1, 29, 55]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
def test_the_kernel_of_scaled_samples_is_the_scaled_kernel(isa, activation, dtype):
    x, z = hard_samples(), torch.cat([samples(3, 3, seed=2), hard_samples()[1:3]])
    x[4] *= 2
    for other, components in ((None, False), (z, False), (None, True)):
        K = infinite(x, other, 3, activation, components, dtype)
        for power in exponents_of(dtype):
            scaled = infinite(
                x * 2.0**power, None if other is None else z * 2.0**power, 3, activation, components, dtype
            )
            assert torch.equal(scaled, times_power_of_two(K, 2 * power)), power


@pytest.mark.parametrize("power", [-1074, -1040, -600, -513, 513, 1020])
@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
def test_kernels_outside_the_range_of_their_dtype_are_refused(activation, power):
    x = times_power_of_two(torch.tensor([[1.0, 0.0], [1.0, 2.0]], dtype=torch.float64), power)
    with pytest.raises(ValueError, match="overflow torch.float64" if power > 0 else "row 0 is so small .* underflow"):
        infinite(x, depth=2, activation=activation)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e-22, 1e-20, 1e20, 1e300])
def test_float32_kernels_of_samples_that_only_float64_can_hold_are_refused(size):
    with pytest.raises(ValueError, match="overflow torch.float32" if size > 1 else "underflow torch.float32"):
        infinite(samples(30, 5) * size, depth=2, dtype=torch.float32)


@pytest.mark.parametrize("power", [-1072, -700, -510, 0, 505, 1000])
def test_the_other_side_of_a_kernel_may_make_up_for_the_size_of_one(power):
    x, z = torch.randint(-9, 10, (4, 3)).double() + 0.5, samples(5, 3)
    powers = power, min(-power, 1000)
    left, right = (times_power_of_two(side, p) for side, p in zip((2 * x, z), powers, strict=True))
    assert_within(infinite(left, right, depth=3), left, right, 3, "relu", 1e-14)
    assert_within(infinite(right, left, depth=3), right, left, 3, "relu", 1e-14)


def test_float32_kernel_of_samples_outside_its_range_is_scaled_inside():
    x = samples(4, 3)
    K = infinite(x * 2.0**-50, depth=2, dtype=torch.float32)
    torch.testing.assert_close(K.double() * 2.0**100, infinite(x, depth=2), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="overflow"):
        infinite(x * 2.0**100, depth=2, dtype=torch.float32)


def test_rows_of_very_different_norm_keep_their_accuracy():
    x = samples(4, 3) * torch.tensor([1e-60, 1e-3, 1.0, 1e60], dtype=torch.float64).unsqueeze(-1)
    assert_within(infinite(x, depth=3), x, x, 3, "relu", 1e-14)


@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
@pytest.mark.parametrize("ratio", [1e-4, 1e-8, 1e-17, 1e-100, 1e-140])
def test_close_directions_are_told_apart_at_any_ratio_of_the_norms(isa, activation, ratio):
    for theta in (1e-9, 1e-3, 0.2, np.pi - 0.1):
        x = rotated(theta) * torch.tensor([[1.0], [ratio]], dtype=torch.float64)
        for rows in (x, x.flip(0)):
            assert_within(infinite(rows, depth=3, activation=activation), rows, rows, 3, activation, 1e-14)
            deficit = 2 * np.sin(float(gradient_angles(rows, 3, activation)[0, 1]) / 2) ** 2
            layers = 3 if activation == "grelu" else 4
            right = 1 - exact.kernel_factor(exact.input_angle(*rows.tolist()), 3, activation) / layers
            assert deficit == pytest.approx(float(right), rel=1e-12)


@pytest.mark.parametrize("activation", ["relu", "grelu"])
@pytest.mark.parametrize("ratio", [1.0, 1e2, 900.0, 1e8])
def test_exchanged_sides_give_the_transposed_kernel(isa, activation, ratio):
    x, z = hard_samples(), ratio * (hard_samples() + 1e-9 * samples(7, 3, seed=3))
    for components in (False, True):
        K = infinite(x, z, 3, activation, components)
        scale = 4 * x.norm(dim=-1).unsqueeze(-1) * z.norm(dim=-1)
        assert ((K - infinite(z, x, 3, activation, components).mT).abs() <= 2e-15 * scale).all()


def test_a_row_that_vanishes_beside_the_largest_is_named():
    x = samples(3, 2)
    x[1] *= 1e-200
    x[2] *= 1e100
    with pytest.raises(ValueError, match="row 1 is so small"):
        infinite(x, depth=1)


def test_one_sample_is_enough(isa):
    x = samples(1, 3)
    torch.testing.assert_close(infinite(x, depth=2), 3 * x @ x.T)
    assert infinite(samples(1, 1), samples(4, 1), depth=2).shape == (1, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("components", [False, True])
@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
def test_the_kernel_of_a_zero_row_is_zero_and_changes_no_other(isa, activation, components, dtype):
    x, z = samples(40, 5), samples(9, 5, seed=1)
    zero_x, zero_z = [0, 7, 39], [3]
    kept_x, kept_z = (torch.tensor([i for i in range(n) if i not in zero]) for n, zero in ((40, zero_x), (9, zero_z)))
    x[zero_x], z[zero_z] = 0, -0.0
    options = {"depth": 2, "activation": activation, "components": components, "dtype": dtype}
    for other, zero, kept, right in ((None, zero_x, kept_x, None), (z, zero_z, kept_z, z[kept_z])):
        K = infinite(x, other, **options)
        expected = torch.zeros_like(K)
        expected[..., kept_x.unsqueeze(1), kept] = infinite(x[kept_x], right, **options)
        torch.testing.assert_close(K, expected, rtol=1e-6 if dtype == torch.float32 else 1e-14, atol=1e-6)
        assert (K[..., zero_x, :] == 0).all()
        assert (K[..., zero] == 0).all()


def test_nothing_but_zero_rows_have_the_zero_kernel():
    zero = torch.zeros(2, 2, dtype=torch.float64)
    for depth, activation in ((0, "relu"), (3, "relu"), (2, "linear"), (1, "grelu")):
        assert torch.equal(infinite(zero, depth=depth, activation=activation), zero)
        assert torch.equal(infinite(zero, samples(2, 2), depth, activation), zero)
    batch = torch.stack([zero, samples(2, 2)])
    assert torch.equal(infinite(batch, depth=2)[1], infinite(batch[1], depth=2))
    assert torch.equal(infinite_sweep(batch, depths=[2])[0, 0], zero)


def with_value(value):
    x = samples(3, 2)
    x[2, 1] = value
    return x


@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "x: expected at least one sample", (torch.zeros(0, 3),), {}),
        (ValueError, "x: expected at least one sample and one feature", (torch.zeros(3, 0),), {}),
        (ValueError, "z: expected at least one sample", (samples(2, 3), torch.zeros(0, 3)), {}),
        (ValueError, r"x: expected shape \(\.\.\., n, d\)", (samples(2, 3)[0],), {}),
        (ValueError, r"x: expected finite values, got nan at index \(2, 1\)", (with_value(np.nan),), {}),
        (ValueError, r"x: expected finite values, got inf at index \(2, 1\)", (with_value(np.inf),), {}),
        (ValueError, r"z: expected finite values, got -inf", (samples(2, 2), with_value(-np.inf)), {}),
        (ValueError, "z: expected 3 features as in x, got .*4", (samples(2, 3), samples(2, 4)), {}),
        (ValueError, r"z: expected leading dimensions \(\)", (samples(2, 3), samples(2, 3).expand(5, 2, 3)), {}),
        (TypeError, "x: expected float32 or float64, got .*int64", (torch.ones(2, 3, dtype=torch.int64),), {}),
        (TypeError, "x: expected float32 or float64, got .*float16", (torch.ones(2, 3, dtype=torch.half),), {}),
        (TypeError, "x: expected float32 or float64, got .*bfloat16", (torch.ones(2, 3, dtype=torch.bfloat16),), {}),
        (TypeError, "x: expected float32 or float64, got .*complex", (torch.ones(2, 3, dtype=torch.cfloat),), {}),
        (TypeError, "x: expected float32 or float64, got an array .*int", (np.ones((2, 3), dtype=int),), {}),
        (TypeError, "x: expected a torch tensor or numpy array, got str", ("x",), {}),
        (TypeError, "z: expected float32 or float64", (samples(2, 3), torch.ones(2, 3, dtype=torch.int32)), {}),
        (TypeError, "x: expected a dense tensor", (samples(2, 3).to_sparse(),), {}),
        (ValueError, "depth: expected an integer of at least 0, got -1", (samples(2, 3),), {"depth": -1}),
        (ValueError, "depth: expected at most 1,048,576 hidden layers", (samples(2, 3),), {"depth": 2**57}),
        (ValueError, "depth: expected at most 1,048,576", (samples(2, 3),), {"depth": 2**20 + 1, "components": True}),
        (ValueError, "depth: expected at most", (samples(2, 3),), {"depth": 2**62, "activation": "linear"}),
        (ValueError, "depth: expected ", (samples(2, 3),), {"depth": 10**30, "activation": "grelu"}),
        (TypeError, "depth: expected an integer, got float 1.5", (samples(2, 3),), {"depth": 1.5}),
        (TypeError, "depth: expected an integer, got float 2.0", (samples(2, 3),), {"depth": 2.0}),
        (TypeError, "depth: expected an integer, got bool True", (samples(2, 3),), {"depth": True}),
        (TypeError, "depth: expected an integer, got NoneType", (samples(2, 3),), {"depth": None}),
        (ValueError, "at least 1 for grelu", (samples(2, 3),), {"depth": 0, "activation": "grelu"}),
        (ValueError, "one of 'relu', 'linear', 'grelu', .*, got 'tanh'", (samples(2, 3),), {"activation": "tanh"}),
        (ValueError, "one of 'relu', 'linear', 'grelu', .*, got None", (samples(2, 3),), {"activation": None}),
        (TypeError, "dtype: expected torch.float32", (samples(2, 3),), {"dtype": torch.float16}),
    ],
)
def test_bad_input_is_refused_by_name(error, message, arguments, options):
    with pytest.raises(error, match=message):
        infinite(*arguments, **options)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "depths: expected at least one depth", {"depths": []}),
        (ValueError, "depths: expected an integer of at least 0, got -2", {"depths": [1, -2]}),
        (ValueError, "depths: expected at most 1,048,576 hidden layers", {"depths": [3, 2**57]}),
        (TypeError, "depths: expected an integer, got float", {"depths": [0.5]}),
        (TypeError, "depths: expected an integer, got bool", {"depths": [True]}),
        (ValueError, "at least 1 for grelu", {"depths": [2, 0], "activation": "grelu"}),
        (ValueError, "got 'tanh'", {"activation": "tanh"}),
    ],
)
def test_bad_sweeps_are_refused_by_name(error, message, options):
    with pytest.raises(error, match=message):
        infinite_sweep(samples(2, 3), **options)


# Theorems


def test_squared_norm_of_the_gradient_is_depth_plus_one_times_that_of_the_sample():
    x = samples(6, 3)
    for depth in (0, 1, 8):
        torch.testing.assert_close(infinite(x, depth=depth).diagonal(), (depth + 1) * x.square().sum(-1))


def test_every_component_preserves_the_norm_of_the_embedding():
    x = samples(6, 3)
    for part in infinite(x, depth=8, components=True):
        torch.testing.assert_close(part.diagonal(), x.square().sum(-1))


@pytest.mark.parametrize("seed", range(3))
def test_only_the_first_component_is_always_better_conditioned_than_the_gram_matrix(seed):
    """[S, Thm 5.1] with v fixed; for the full kernel of 20 points in 400 dimensions the opposite holds."""
    x = samples(20, 400, seed)
    gram, parts = condition(x @ x.T), infinite(x, depth=1, components=True)
    assert condition(parts[0]) < gram
    assert condition(infinite(x, depth=1)) > 2 * gram
    for n, d in ((5, 10), (8, 8), (20, 40)):
        x = samples(n, d, seed)
        assert condition(infinite(x, depth=1, components=True)[0]) < condition(x @ x.T)


@pytest.mark.parametrize("theta", [1e-6, 1e-3, 0.05])
@pytest.mark.parametrize("activation", ["relu", "grelu"])
def test_two_close_samples_are_better_conditioned_with_every_layer(activation, theta):
    """[S, Thm 5.2]."""
    x = rotated(theta)
    kappas = [condition(K) for K in infinite_sweep(x, depths=range(1, 11), activation=activation)]
    assert condition(x @ x.T) > kappas[0]
    assert all(b < a for a, b in itertools.pairwise(kappas))


@pytest.mark.parametrize("seed", range(3))
def test_depth_need_not_help_data_in_general(seed):
    kappas = [condition(K) for K in infinite_sweep(samples(20, 40, seed), depths=[1, 2, 5])]
    assert kappas == sorted(kappas)


@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
@pytest.mark.parametrize("seed", range(3))
def test_every_pair_bounds_the_smallest_eigenvalue(activation, seed):
    """[S, Prop. 2.2]: lambda_min <= 2 a^2 b^2 (1 - cos phi) / (a^2 + b^2), a and b the norms of two gradients."""
    x = samples(8, 10, seed) * torch.rand(8, 1, dtype=torch.float64).add(0.1)
    for depth in (1, 4):
        K = infinite(x, depth=depth, activation=activation)
        a2, b2 = K.diagonal().unsqueeze(1), K.diagonal().unsqueeze(0)
        deficit = 2 * torch.sin(gradient_angles(x, depth, activation) / 2).square()
        bound = 2 * a2 * b2 * deficit / (a2 + b2)
        bound.fill_diagonal_(torch.inf)
        assert torch.linalg.eigvalsh(K)[0] <= bound.min() * (1 + 1e-12)


def test_the_largest_depth_is_near_the_limit():
    K = infinite(unit_samples(2, 6), depth=2**20) / (2**20 + 1)
    assert float(K[0, 1]) == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize("n", [2, 5, 20])
def test_infinite_depth_leaves_a_quarter_of_the_diagonal_and_condition_n_plus_3_over_3(n):
    x = unit_samples(n, 6)
    K = infinite(x, depth=100_000) / 100_001
    off = K[~torch.eye(n, dtype=torch.bool)]
    torch.testing.assert_close(off, torch.full_like(off, 0.25), rtol=0, atol=1e-3)
    assert condition(K) == pytest.approx((n + 3) / 3, rel=2e-3)


def test_condition_falls_to_its_limit_with_depth_for_more_samples_than_dimensions():
    x = unit_samples(50, 3)
    kappas = [condition(K) for K in infinite_sweep(x, depths=[1, 5, 20, 100, 1000])]
    assert kappas == sorted(kappas, reverse=True)
    assert kappas[-1] > (50 + 3) / 3


def test_infinite_depth_makes_grelu_perfectly_conditioned():
    x = unit_samples(50, 3)
    kappas = [condition(K) for K in infinite_sweep(x, depths=[1, 5, 20, 100, 3000], activation="grelu")]
    assert kappas == sorted(kappas, reverse=True)
    assert kappas[-1] == pytest.approx(1, abs=1e-2)
    assert all(k < condition(infinite(x, depth=d)) for k, d in zip(kappas, [1, 5, 20, 100], strict=False))


def test_a_linear_network_is_singular_beyond_its_dimension():
    assert not gt.spectrum(infinite(samples(6, 3), depth=3, activation="linear")).resolved


def test_kappa_predicts_the_rate_of_gradient_descent():
    """Residuals of square loss follow r <- (I - eta K) r: the slowest direction shrinks by 1 - 1/kappa a step."""
    K = infinite(unit_samples(8, 10), depth=2)
    values, vectors = torch.linalg.eigh(K)
    residual, eta, steps = vectors[:, 0].clone(), 1 / float(values[-1]), 40
    mixed = unit_samples(1, 8)[0]
    start = mixed.norm()
    for _ in range(steps):
        residual, mixed = residual - eta * K @ residual, mixed - eta * K @ mixed
    rate = 1 - 1 / condition(K)
    assert float(residual.norm()) == pytest.approx(rate**steps, rel=1e-9)
    assert mixed.norm() <= rate**steps * start * (1 + 1e-12)
    assert mixed.square().sum() <= (1 - eta * float(values[0]) / 2) ** steps * start.square()


# GReLU by simulation


def grelu_kernel(x, m, depth, d_out, generator):
    """Kernel of one random network averaged over its outputs, in units of m^2 / (d_x d_y) ([G, Eq. 9-10])."""

    def normal(rows, columns, variance):
        return variance**0.5 * torch.randn(rows, columns, generator=generator, dtype=torch.float64)

    n, d_x = x.shape
    z = x @ normal(m, d_x, 2 / d_x).T
    masks = [z > 0]
    t = [z * masks[0]]
    z, weights = t[0], []
    for _ in range(depth):
        z = torch.relu(z @ normal(m, m, 2 / m).T)
        masks.append(z > 0)
        weights.append(normal(m, m, 2 / m))
        t.append(masks[-1] * (t[-1] @ weights[-1].T))
    delta = normal(d_out, m, 2 / d_out).expand(n, d_out, m) * masks[depth].unsqueeze(1)
    K = torch.zeros(n, n, dtype=torch.float64)
    for k in range(depth, 0, -1):
        K += (t[k - 1] @ t[k - 1].T) * (delta.flatten(1) @ delta.flatten(1).T) / d_out
        delta = (delta @ weights[k - 1]) * masks[k - 1].unsqueeze(1)
    return K * (d_x * d_out / m**2)


@pytest.mark.parametrize("depth", [1, 2])
def test_grelu_kernel_is_the_mean_over_wide_random_networks(depth, generator):
    x, m = unit_samples(3, 4), 96
    draws = torch.stack([grelu_kernel(x, m, depth, 4, generator) for _ in range(80)])
    error = draws.std(0) / 80**0.5
    bias = 3 * depth / m  # gates and activations of one layer are both drawn: of order 1/m
    assert ((draws.mean(0) - infinite(x, depth=depth, activation="grelu")).abs() <= 4 * error + bias).all()
