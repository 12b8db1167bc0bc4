"""Infinite-width kernels and angles by the CUDA kernels, in every configuration."""

import math

import pytest
import torch
from cases.devices import made_up

from gatentk import reference
from gatentk.ops import QUANTITIES
from gatentk.ops.infinite import OF_DIRECTIONS

DEVICE = made_up(90, 132)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
# Every configuration of the table, with the dtype that it is for.
CONFIGURATIONS = pytest.mark.parametrize(
    ("dtype", "configuration"), [(torch.float32, 0), (torch.float32, 1), (torch.float64, 2), (torch.float64, 3)]
)
KERNELS = ("relu", "grelu", "grelu_deep", "grelu_shallow")


def samples(n, d, dtype=torch.float64, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def hard_samples(dtype):
    """Norms from 0.1 to 10, close pairs, one of equal direction, opposite ones, a right angle, an identical pair."""
    x = samples(12, 3) * torch.tensor([0.1, 1, 10, 1, 3, 0.5, 1, 1, 1, 1, 2, 7], dtype=torch.float64).unsqueeze(-1)
    x[3] = x[1] + 1e-5 * samples(1, 3, seed=1)
    x[4] = 2 * x[2]
    x[5] = -x[0]
    x[6] = torch.linalg.cross(x[0], x[1])
    x[7] = -x[1] + 1e-4 * samples(1, 3, seed=2)
    x[8] = x[1] + 0.05 * samples(1, 3, seed=3)
    x[9] = x[2]
    return x.to(dtype)


def view(x):
    return (x.data_ptr(), *x.shape, x.stride(0), (0, 0), False)


def infinite(emulated, x, z, depths, quantity, configuration=-1):
    """As `gatentk.ops.infinite_ntk`; whatever is not written stays NaN."""
    outputs = depths[0] + 1 if quantity == "relu_components" else len(depths)
    columns = x if z is None else z
    n, n_z = len(x), len(columns)
    out = torch.full((outputs, n, n_z), math.nan, dtype=x.dtype)
    suffix = "f32" if x.dtype == torch.float32 else "f64"
    problem = (QUANTITIES.index(quantity), depths, z is None, view(x), view(columns))
    workspace = torch.full((getattr(emulated, f"infinite_workspace_{suffix}")(*problem),), math.nan, dtype=x.dtype)
    run = getattr(emulated, f"infinite_ntk_{suffix}")
    run(*problem, out.data_ptr(), n * n_z, n_z, workspace.data_ptr(), DEVICE, configuration=configuration)
    return out


def depths_of(quantity, depths):
    if quantity == "relu_components":
        return [max(depths)]
    return [depth for depth in depths if depth or not quantity.startswith("grelu")]


def assert_close(out, x, z, depths, quantity):
    """Angles to 1e-11 (float32: 100 eps), kernels to 20 eps of the largest diagonal element, as the CPU kernels."""
    right = x if z is None else z
    expected = reference.infinite_ntk(x.double(), None if z is None else z.double(), depths, quantity)
    eps = torch.finfo(x.dtype).eps
    size = float(x.double().norm(dim=-1).max() * right.double().norm(dim=-1).max())
    tolerance = max(1e-11, 100 * eps) if quantity in OF_DIRECTIONS else 20 * eps * (max(depths) + 1) * size
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=tolerance)


def test_quantities_are_those_of_the_kernels():
    assert QUANTITIES[:6] == ("relu", "relu_components", "relu_angle", "grelu", "grelu_angle", "embedding_angle")


@CONFIGURATIONS
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize(("n", "n_z", "d"), [(1, 2, 2), (37, 70, 19)])
def test_equals_reference(emulated, dtype, configuration, quantity, n, n_z, d):
    x, z = samples(n, d, dtype), samples(n_z, d, dtype, seed=1)
    depths = depths_of(quantity, [0, 1, 2, 3, 7])
    for other in (None, z):
        assert_close(infinite(emulated, x, other, depths, quantity, configuration), x, other, depths, quantity)


@CONFIGURATIONS
@pytest.mark.parametrize(("n", "n_z", "d"), [(66, 31, 170), (5, 66, 16), (33, 2, 333), (2, 2, 4096)])
def test_samples_of_any_width(emulated, dtype, configuration, n, n_z, d):
    x, z = samples(n, d, dtype), samples(n_z, d, dtype, seed=1)
    for other in (None, z):
        assert_close(infinite(emulated, x, other, [0, 2], "relu", configuration), x, other, [0, 2], "relu")


@CONFIGURATIONS
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_close_opposite_and_identical_samples(emulated, dtype, configuration, quantity):
    x = hard_samples(dtype)
    z = torch.cat([samples(3, 3, dtype, seed=4), x[1:8]])
    depths = depths_of(quantity, [0, 1, 4, 20])
    eps, angle = torch.finfo(dtype).eps, quantity in OF_DIRECTIONS
    for other in (None, z):
        right = x if other is None else other
        out = infinite(emulated, x, other, depths, quantity, configuration).double()
        expected = reference.infinite_ntk(x.double(), None if other is None else other.double(), depths, quantity)
        # Kernels are within 1e-14 (float32: 5e-6) of the diagonal.
        layers = 21 if quantity in KERNELS else 1
        sizes = layers * x.double().norm(dim=-1, keepdim=True) * right.double().norm(dim=-1)
        tolerance = max(1e-11, 20 * eps) if angle else 40 * eps * sizes
        assert ((out - expected).abs() <= tolerance).all()


@DTYPES
def test_small_angles_are_relatively_accurate(emulated, dtype):
    x = torch.zeros(5, 4, dtype=dtype)
    x[:, 0] = 1
    x[1:, 1] = torch.tensor([1e-12, 1e-7, 1e-3, 0.2], dtype=dtype)
    for quantity in ("embedding_angle", "relu_angle", "grelu_deep_deficit", "grelu_shallow_deficit"):
        depths = depths_of(quantity, [0, 1, 5, 30])
        out = infinite(emulated, x, None, depths, quantity).double()
        expected = reference.infinite_ntk(x.double(), None, depths, quantity)
        torch.testing.assert_close(out, expected, rtol=20 * torch.finfo(dtype).eps, atol=0)


@DTYPES
@pytest.mark.parametrize("ratio", [1.0, 3.0, 1e2 + 1, 1e6 + 1])
def test_angles_of_rows_of_unequal_norm_are_as_exact(emulated, dtype, ratio):
    turned = samples(5, 5, seed=7)
    for theta in (1e-6, 1e-3, 0.3, 2.0, 3.0):
        x = torch.linalg.qr(turned).Q[:2] @ torch.diag(torch.arange(1, 6).double())
        x[1] = ratio * (math.cos(theta) * x[0] + math.sin(theta) * x[1])
        x = x.to(dtype)
        expected = reference.infinite_ntk(x.double(), None, [0, 3], "relu_angle")
        for rows in (x, x.flip(0)):
            out = infinite(emulated, rows, None, [0, 3], "relu_angle").double()
            rtol = 1e-14 if dtype == torch.float64 else 2e-6
            torch.testing.assert_close(out, expected, rtol=rtol, atol=0)


@DTYPES
@pytest.mark.parametrize("factor", [3.0, 101.0, 2187.0])
def test_parallel_samples_of_unequal_norm_have_the_angle_zero(emulated, dtype, factor):
    x = torch.tensor([[1.0, 3.0, -5.0], [1e3, 3e3, -5e3]], dtype=dtype)
    angles = infinite(emulated, x, torch.cat([factor * x, -factor * x]), [0], "relu_angle")[0]
    assert (angles[:, :2] == 0).all()
    assert (angles[:, 2:] == torch.tensor(math.pi, dtype=dtype)).all()


@DTYPES
def test_parallel_samples_have_the_angle_zero(emulated, dtype):
    x = samples(3, 5, dtype)
    for quantity in ("embedding_angle", "relu_angle", "grelu_angle", "grelu_deep_deficit", "grelu_shallow_deficit"):
        angles = infinite(emulated, x, torch.cat([x, 2 * x]), [1, 9], quantity)
        assert (angles[:, range(3), range(3)] == 0).all()
        assert (angles[:, range(3), range(3, 6)] == 0).all()
    assert (infinite(emulated, x, -x, [0], "relu_angle")[0].diagonal() == torch.tensor(math.pi, dtype=dtype)).all()


@DTYPES
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_nan_is_not_hidden(emulated, dtype, quantity):
    x = samples(4, 3, dtype)
    x[1, 2] = math.nan
    out = infinite(emulated, x, None, [3], quantity)
    assert out[:, 1].isnan().all()
    assert out[:, :, 1].isnan().all()
    assert not out[:, [0, 2, 3]][:, :, [0, 2, 3]].isnan().any()


@CONFIGURATIONS
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_symmetric_is_exactly_symmetric_and_equals_rectangular_above_the_diagonal(
    emulated, dtype, configuration, quantity
):
    x = torch.cat([hard_samples(dtype), samples(60, 3, dtype)])
    depths = depths_of(quantity, [0, 2, 5])
    own = infinite(emulated, x, None, depths, quantity, configuration)
    assert torch.equal(own, own.mT)
    other = infinite(emulated, x, x.clone(), depths, quantity, configuration)
    above = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    assert torch.equal(own[:, above], other[:, above])


@DTYPES
def test_diagonal_is_analytic(emulated, dtype):
    x = hard_samples(dtype)
    squared = x.double().square().sum(-1).to(dtype)
    eps = torch.finfo(dtype).eps
    kernels = infinite(emulated, x, None, [0, 1, 7], "relu")
    for kernel, layers in zip(kernels, (1, 2, 8), strict=True):
        torch.testing.assert_close(kernel.diagonal(), layers * squared, rtol=eps, atol=0)
    for quantity in ("grelu", "grelu_deep", "grelu_shallow"):
        kernel = infinite(emulated, x, None, [3], quantity)[0]
        torch.testing.assert_close(kernel.diagonal(), 3 * squared, rtol=eps, atol=0)
    for part in infinite(emulated, x, None, [3], "relu_components"):
        torch.testing.assert_close(part.diagonal(), squared, rtol=eps, atol=0)
    assert not infinite(emulated, x, None, [2], "grelu_angle")[0].diagonal().any()


@DTYPES
@pytest.mark.parametrize("quantity", [q for q in QUANTITIES if q != "relu_components"])
def test_sweep_equals_single_depths_bit_for_bit(emulated, dtype, quantity):
    x, z = samples(12, 4, dtype), samples(9, 4, dtype, seed=1)
    depths = depths_of(quantity, [0, 1, 2, 3, 4, 5, 6, 20])
    for other in (None, z):
        sweep = infinite(emulated, x, other, depths, quantity)
        for index, depth in enumerate(depths):
            assert torch.equal(sweep[index], infinite(emulated, x, other, [depth], quantity)[0]), depth


def test_more_depths_than_one_pass_takes(emulated):
    x, z = samples(3, 2), samples(2, 2, seed=1)
    depths = list(range(0, 600, 2))
    for other in (None, z):
        out = infinite(emulated, x, other, depths, "relu")
        parts = [infinite(emulated, x, other, part, "relu") for part in (depths[:100], depths[100:])]
        assert torch.equal(out, torch.cat(parts))
        assert_close(out[-1:], x, other, depths[-1:], "relu")


@DTYPES
@pytest.mark.parametrize("depth", [0, 1, 2, 30])
def test_components_sum_to_the_kernel(emulated, dtype, depth):
    x = hard_samples(dtype)
    parts = infinite(emulated, x, None, [depth], "relu_components").double()
    whole = infinite(emulated, x, None, [depth], "relu")[0].double()
    sizes = x.double().norm(dim=-1).unsqueeze(-1) * x.double().norm(dim=-1)
    assert ((parts.sum(0) - whole).abs() <= 10 * torch.finfo(dtype).eps * (depth + 1) * sizes).all()


@CONFIGURATIONS
def test_every_order_of_lanes_gives_the_same_bits(emulated, dtype, configuration):
    x = samples(70, 40, dtype)
    results = []
    for order in ("forward", "reversed", "shuffled"):
        emulated.set_lane_order(order, seed=3)
        results.append(infinite(emulated, x, None, [1, 6], "relu", configuration))
    emulated.set_lane_order("forward")
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@DTYPES
@pytest.mark.parametrize("offset", range(4))
def test_rows_may_start_anywhere(emulated, dtype, offset):
    x, z = samples(9, 50, dtype)[::2, offset : offset + 37], samples(6, 41, dtype, seed=1)[:, offset : offset + 37]
    out = infinite(emulated, x, z, [3], "relu")
    assert torch.equal(out, infinite(emulated, x.contiguous(), z.contiguous(), [3], "relu"))
    assert_close(out, x, z, [3], "relu")


def test_outputs_may_lie_apart(emulated):
    x = samples(5, 3)
    out = torch.full((2, 3, 5, 9), math.nan, dtype=torch.float64)
    workspace = torch.empty(10, dtype=torch.float64)
    emulated.infinite_ntk_f64(
        0, [1, 2], True, view(x), view(x), out[:, 1, :, 2:].data_ptr(), 135, 9, workspace.data_ptr(), DEVICE
    )
    assert torch.equal(out[:, 1, :, 2:7], infinite(emulated, x, None, [1, 2], "relu"))
    assert out.isnan().sum() == out.numel() - 50


def test_no_samples_and_no_depths(emulated):
    x = samples(3, 2)
    assert infinite(emulated, x[:0], None, [1], "relu").shape == (1, 0, 0)
    assert infinite(emulated, x, x[:0], [1], "relu").shape == (1, 3, 0)
    assert infinite(emulated, x, None, [], "relu").shape == (0, 3, 3)


def test_what_the_kernels_do_not_take_is_refused(emulated):
    x = samples(3, 2)
    out = torch.empty(9, dtype=torch.float64)

    def run(quantity=0, depth=1, transposed=False, configuration=-1):
        left = (*view(x)[:5], transposed)
        emulated.infinite_ntk_f64(
            quantity, [depth], True, left, view(x), out.data_ptr(), 9, 3, out.data_ptr(), DEVICE, configuration
        )

    with pytest.raises(ValueError, match="quantity"):
        run(quantity=len(QUANTITIES))
    with pytest.raises(ValueError, match="depth below 2"):
        run(depth=2**31)
    with pytest.raises(ValueError, match="samples in rows"):
        run(transposed=True)
    with pytest.raises(ValueError, match="no such configuration"):
        run(configuration=0)
    with pytest.raises(ValueError, match="no such configuration"):
        run(configuration=4)


def test_choice_takes_large_tiles_where_they_fill_the_device(emulated):
    table = emulated.infinite_ntk_configurations()
    assert [entry["name"] for entry in table] == ["f32 64x64", "f32 32x32", "f64 64x64", "f64 32x32", "norms"]
    assert all(entry["shared_bytes"] <= 48 * 1024 for entry in table)
    for element_bytes, large in ((4, 0), (8, 2)):
        assert emulated.choose_infinite_ntk(made_up(90, 132), element_bytes, 500, 500, True) == large + 1
        assert emulated.choose_infinite_ntk(made_up(90, 132), element_bytes, 2000, 2000, True) == large
        assert emulated.choose_infinite_ntk(made_up(90, 132), element_bytes, 1100, 1100, False) == large
        assert emulated.choose_infinite_ntk(made_up(90, 132), element_bytes, 1100, 1100, True) == large + 1
        assert emulated.choose_infinite_ntk(made_up(80, 108), element_bytes, 0, 5, False) == large + 1
