"""Products in a fixed order on every instruction set, bit for bit: exact chains of fused multiply-adds."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from cases.tensors import DTYPES, LAYOUTS, SEEDS, factor, same_bits, scatter, with_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import _core, ops


def round_to(value, dtype):
    """The nearest float of a fraction, ties to even."""
    digits, lowest = {torch.float32: (24, -149), torch.float64: (53, -1074)}[dtype]
    if not value:
        return value
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    exponent -= abs(value) < Fraction(2) ** exponent
    unit = Fraction(2) ** max(exponent - digits + 1, lowest)
    return round(value / unit) * unit


def chain(x, weight):
    """Fused multiply-adds over rising columns from 0, exactly: each step is rounded once."""
    total = Fraction(0)
    for a, b in zip(x.tolist(), weight.tolist(), strict=True):
        total = round_to(total + Fraction(a) * Fraction(b), x.dtype)
    return total


def assert_is_chain(found, x, weight, elements):
    for i, j in elements:
        expected = chain(x[i], weight[j])
        assert Fraction(found[i, j].item()) == expected, (i, j)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (Fraction(1) + Fraction(1, 2**24), torch.float32, 1.0),
        (Fraction(1) + Fraction(3, 2**24), torch.float32, 1 + 2.0**-22),
        (Fraction(-(2**25) - 1, 2**25), torch.float32, -1.0),
        (Fraction(3, 2**151), torch.float32, 2.0**-149),
        (Fraction(1, 2**150), torch.float32, 0.0),
        (Fraction(1, 3), torch.float64, 1 / 3),
        (Fraction(2**80 + 1, 7), torch.float64, (2**80 + 1) / 7),
    ],
)
def test_the_oracle_rounds_to_nearest_even(value, dtype, expected):
    assert round_to(value, dtype) == Fraction(expected)


@DTYPES
@given(
    numbers=st.lists(
        st.tuples(*[st.integers(-(2**53), 2**53), st.integers(-5, 5)] * 2),
        max_size=12,
    )
)
@settings(max_examples=40)
def test_short_chains_are_fused(isa, dtype, numbers):
    x = torch.tensor([[a * 2.0**e for a, e, _, _ in numbers]], dtype=dtype)
    weight = torch.tensor([[b * 2.0**e for _, _, b, e in numbers]], dtype=dtype)
    assert_is_chain(ops.ordered_linear(x, weight), x, weight, [(0, 0)])


def test_a_product_is_never_rounded_on_its_own(isa):
    """1 + (2^-24 + 2^-60): rounded to float64 on the way it would be a tie and become 1."""
    x, weight = torch.tensor([[1, 4097 * 2.0**-30]]), torch.tensor([[1, 16773121 * 2.0**-30]])
    assert ops.ordered_linear(x, weight).item() == 1 + 2.0**-23
    # And in float64 2^-80 survives only if the square is not rounded before 1 is taken away.
    x = torch.tensor([[1.0, 1 + 2.0**-40, 1]], dtype=torch.float64)
    weight = torch.tensor([[-1.0, 1 + 2.0**-40, -(2.0**-39)]], dtype=torch.float64)
    assert ops.ordered_linear(x, weight).item() == 2.0**-80


@DTYPES
@pytest.mark.parametrize("size", [0, 1, _core.block_columns - 1, _core.block_columns, _core.block_columns + 1, 400])
def test_long_chains_go_on_across_blocks(isa, dtype, size, generator):
    x, weight = (factor(generator, (n, size), dtype, 0.8) for n in (131, 101))
    found = ops.ordered_linear(x, weight)
    assert found.shape == (131, 101)
    assert_is_chain(found, x, weight, [(0, 0), (4, 47), (128, 48), (130, 100)])


@DTYPES
@given(
    n=st.sampled_from([1, 4, 5, 8, 9, 128, 129]),
    inner=st.integers(0, 400),
    columns=st.sampled_from([1, 11, 12, 13, 24, 25, 48, 49, 97]),
    layouts=st.tuples(LAYOUTS, LAYOUTS),
    relu=st.booleans(),
    seed=SEEDS,
    data=st.data(),
)
@settings(max_examples=25)
def test_batches_instruction_sets_and_layouts_change_no_bit(isa, dtype, n, inner, columns, layouts, relu, seed, data):
    generator = torch.Generator().manual_seed(seed)
    x, weight = factor(generator, (n, inner), dtype, 0.9), factor(generator, (columns, inner), dtype, 0.9)
    ops.select_isa("portable")
    expected = ops.ordered_linear(x, weight, relu)
    ops.select_isa(isa)
    assert same_bits(ops.ordered_linear(scatter(x, layouts[0]), scatter(weight, layouts[1]), relu), expected)
    rows = data.draw(st.lists(st.integers(0, n - 1), max_size=20))
    neurons = data.draw(st.lists(st.integers(0, columns - 1), max_size=20))
    assert same_bits(ops.ordered_linear(x[rows], weight, relu), expected[rows])
    assert same_bits(ops.ordered_linear(x, weight[neurons], relu), expected[:, neurons])


@DTYPES
def test_threads_change_no_bit_of_ordered_products(isa, dtype, generator):
    x, weight = factor(generator, (1100, 70), dtype, 1), factor(generator, (300, 70), dtype, 1)
    one, two = (with_threads(threads, lambda: ops.ordered_linear(x, weight)) for threads in (1, 2))
    assert same_bits(one, two)


@DTYPES
def test_relu_gives_positive_zeros_only(isa, dtype):
    tiny = torch.finfo(dtype).tiny
    x, weight = (torch.tensor(values, dtype=dtype)[:, None] for values in ([1, -1, 0.0, -0.0, -tiny, 2], [1, tiny, -3]))
    plain, relu = ops.ordered_linear(x, weight), ops.ordered_linear(x, weight, relu=True)
    assert same_bits(plain[4, 1], torch.tensor(-0.0, dtype=dtype))  # -tiny^2 underflows
    assert not relu.signbit().any()
    assert torch.equal(relu, torch.where(plain > 0, plain, 0))


@DTYPES
@pytest.mark.parametrize("size", [205, 512])
def test_ordered_products_are_as_accurate_as_a_chain_can_be(isa, dtype, size, generator):
    """Higham, Accuracy and Stability of Numerical Algorithms, (3.5); plain torch meets it as well."""
    x, weight = factor(generator, (40, size), dtype, 1), factor(generator, (30, size), dtype, 1)
    wide = np.longdouble if dtype == torch.float64 else np.float64
    exact = x.numpy().astype(wide) @ weight.numpy().astype(wide).T
    bound = size * torch.finfo(dtype).eps / 2 * np.abs(x.numpy()).astype(wide) @ np.abs(weight.numpy()).astype(wide).T
    assert (np.abs(ops.ordered_linear(x, weight).numpy() - exact) <= bound).all()


def test_ordered_products_have_no_gradient():
    x, weight = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    assert not ops.ordered_linear(x, weight).requires_grad


def test_vmap(generator):
    z, weight = factor(generator, (3, 9, 40), torch.float32, 1), factor(generator, (30, 40), torch.float32, 1)
    found = torch.func.vmap(lambda z: ops.ordered_linear(z, weight, relu=True))(z)
    assert same_bits(found, torch.stack([ops.ordered_linear(row, weight, relu=True) for row in z]))


def test_opcheck(generator):
    z, weight = factor(generator, (6, 20), torch.float32, 1), factor(generator, (12, 20), torch.float32, 1)
    torch.library.opcheck(torch.ops.gatentk.ordered_linear.default, (z, weight, True))


# Refusals

Z, W = torch.ones(3, 4), torch.ones(5, 4)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "^x: expected a float32 or float64 tensor", lambda: ops.ordered_linear(Z.int(), W)),
        (TypeError, "^weight: expected torch.float32 as x", lambda: ops.ordered_linear(Z, W.double())),
        (ValueError, "^x: expected a matrix", lambda: ops.ordered_linear(Z[0], W)),
        (ValueError, r"^weight: expected shape \(out_features, 4\)", lambda: ops.ordered_linear(Z, W[:, :3])),
        (ValueError, "^x: expected .*got .*2, 3, 4", lambda: ops.ordered_linear(Z.expand(2, 3, 4), W)),
    ],
)
def test_bad_arguments_are_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()
