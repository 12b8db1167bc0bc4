"""The registered op of infinite width against plain torch; the functions of `gatentk.ntk` have tests of their own."""

import pytest
import torch
from cases.tensors import DTYPES, LAYOUTS, SEEDS, factor, scatter
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import ops, reference
from gatentk.ops.infinite import OF_DIRECTIONS


@DTYPES
@given(n=st.integers(0, 40), n_z=st.none() | st.integers(0, 40), d=st.integers(2, 30), layout=LAYOUTS, seed=SEEDS)
@settings(max_examples=5)
def test_infinite_ntk_equals_plain_torch(isa, dtype, n, n_z, d, layout, seed):
    generator = torch.Generator().manual_seed(seed)
    x = factor(generator, (n, d), dtype, 1)
    z = None if n_z is None else factor(generator, (n_z, d), dtype, 1)
    args = scatter(x, layout), None if z is None else scatter(z, layout)
    eps = torch.finfo(dtype).eps
    size = float(x.norm(dim=-1).max() * (x if z is None else z).norm(dim=-1).max()) if n and n_z != 0 else 0.0
    for quantity in ops.QUANTITIES:
        depths = [4] if quantity == "relu_components" else [1, 4]
        out = ops.infinite_ntk(*args, depths, quantity)
        expected = reference.infinite_ntk(x.double(), None if z is None else z.double(), depths, quantity)
        assert out.shape == expected.shape
        assert out.dtype == dtype
        tolerance = max(1e-13, 100 * eps) if quantity in OF_DIRECTIONS else 20 * eps * (max(depths) + 1) * size
        torch.testing.assert_close(out.double(), expected, rtol=0, atol=tolerance)


@DTYPES
@pytest.mark.parametrize("quantity", ops.QUANTITIES)
def test_zero_rows_have_kernels_that_are_zero_and_no_angles(isa, dtype, quantity):
    x, z = (torch.randn(n, 3, generator=torch.Generator().manual_seed(n), dtype=dtype) for n in (5, 4))
    kept = torch.tensor([0, 1, 3, 4])
    plain = ops.infinite_ntk(x[kept], z, [2], quantity)
    x[2] = 0
    if quantity in OF_DIRECTIONS:
        for arguments, name in (((x, None), "x"), ((x, z), "x"), ((z, x), "z")):
            with pytest.raises(ValueError, match=f"{name}: row 2 is all zero, so its angle"):
                ops.infinite_ntk(*arguments, [2], quantity)
    else:
        K = ops.infinite_ntk(x, z, [2], quantity)
        assert (K[:, 2] == 0).all()
        torch.testing.assert_close(K[:, kept], plain)
        assert (ops.infinite_ntk(x, None, [2], quantity)[..., 2] == 0).all()


@DTYPES
@pytest.mark.parametrize("quantity", ops.QUANTITIES)
def test_rows_of_any_size_are_taken(isa, dtype, quantity):
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    expected = ops.infinite_ntk(x, None, [2], quantity)
    for power in (-50, 50) if dtype == torch.float32 else (-480, 480):
        scaled = ops.infinite_ntk(x * 2.0**power, None, [2], quantity)
        assert torch.equal(scaled, expected if quantity in OF_DIRECTIONS else expected * 2.0**power * 2.0**power)


def op_cases():
    generator = torch.Generator().manual_seed(2)
    a, b = (factor(generator, (n, 20), torch.float32, 0.7) for n in (3, 2))
    infinite = torch.ops.gatentk.infinite_ntk.default
    yield infinite, (a, None, [1, 3], "relu")
    yield infinite, (a.expand(2, 3, 20), b.expand(2, 2, 20), [0, 2], "relu")
    for quantity in ops.QUANTITIES:
        yield infinite, (a.double(), None, [2], quantity)

    network = torch.ops.gatentk.infinite_network.default
    for quantity in ops.NETWORK_QUANTITIES:
        yield network, (a.double(), None, [2], quantity, [0.0, 1.0, 2.0, 0.3])
    yield network, (a.expand(2, 3, 20), b.expand(2, 2, 20), [0, 2], "leaky_relu", [0.2, 1.0, 2.0, 0.0])


@pytest.mark.parametrize(("op", "arguments"), list(op_cases()))
def test_opcheck(op, arguments):
    torch.library.opcheck(op, arguments)


@pytest.mark.parametrize(
    ("error", "message", "x", "z"),
    [
        (TypeError, "^x: expected a float32 or float64 tensor, got list", [[1.0]], None),
        (ValueError, r"^x: expected shape \(\.\.\., n, width\)", torch.ones(3), None),
        (TypeError, "^z: expected a float32 or float64 tensor, got .*int64", torch.ones(2, 3), torch.ones(2, 3).long()),
        (ValueError, "^z: expected torch.float32 and the .* last dimensions of x", torch.ones(2, 3), torch.ones(2, 4)),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(error, message, x, z):
    with pytest.raises(error, match=message):
        ops.infinite_ntk(x, z, [1], "relu")


@pytest.mark.parametrize("depth", [2**20 + 1, 2**57, 2**62])
def test_depths_that_would_take_for_ever_are_refused(depth):
    with pytest.raises(ValueError, match="depths: expected integers of at most 1,048,576, got"):
        ops.infinite_ntk(torch.ones(2, 2), None, [1, depth], "relu")


@DTYPES
@given(n=st.integers(0, 40), n_z=st.none() | st.integers(0, 40), d=st.integers(1, 30), layout=LAYOUTS, seed=SEEDS)
@settings(max_examples=5)
def test_network_of_the_papers_variances_equals_infinite_ntk(isa, dtype, n, n_z, d, layout, seed):
    generator = torch.Generator().manual_seed(seed)
    x = factor(generator, (n, d), dtype, 1)
    z = None if n_z is None else factor(generator, (n_z, d), dtype, 1)
    found = ops.infinite_network(
        scatter(x, layout), None if z is None else scatter(z, layout), [0, 1, 4], "leaky_relu", first=1, weight=2
    )
    expected = ops.infinite_ntk(x, z, [0, 1, 4], "relu")
    size = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=0, atol=20 * torch.finfo(dtype).eps * size)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "quantity: expected one of 'leaky_relu', .*, got 'relu'", {"quantity": "relu"}),
        (ValueError, "weight: expected a finite number of at least 4.94066e-324, got 0", {"weight": 0}),
        (ValueError, "first: expected a finite number .*, got nan", {"first": float("nan")}),
        (ValueError, "bias: expected a finite number of at least 0, got -1", {"bias": -1}),
        (ValueError, "slope: expected a finite number .*, got inf", {"slope": float("inf")}),
        (ValueError, "depths: expected rising integers of at least 0", {"depths": [2, 1]}),
        (ValueError, "depths: expected integers of at most 4,096, got 5000", {"depths": [5000], "quantity": "erf"}),
    ],
)
def test_what_is_no_network_is_refused(error, message, options):
    options = {"depths": [1], "quantity": "leaky_relu"} | options
    with pytest.raises(error, match=message):
        ops.infinite_network(torch.ones(2, 2, dtype=torch.float64), None, **options)


def test_erf_and_gelu_are_computed_in_float64_only():
    with pytest.raises(TypeError, match=r"x: expected a float64 tensor for gelu, got .*float32"):
        ops.infinite_network(torch.ones(2, 2), None, [1], "gelu")
