"""Masked products by the CUDA kernels, in every configuration."""

import itertools
import math

import numpy as np
import pytest
import torch
from cases.devices import made_up
from cases.stored import DEVICE, DTYPES, PRECISIONS, SUFFIXES, Matrix, filled, packed, pages

NAMES = [
    *("strict_128x128", "strict_64x64", "tf32x3_128x128", "tf32x3_64x64", "tf32_128x128", "tf32_64x64"),
    *("f64_64x64", "f64_32x32", "bf16_128x128", "bf16_64x64"),
]
CONFIGURATIONS = pytest.mark.parametrize("name", NAMES)
ACCURATE = pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("tf32_")])


def arithmetic(name):
    return name.split("_")[0]


def multiply(emulated, name, left, right, mask=None, out=None, chosen=True):
    """left @ right.T through the gates `mask`, by the configuration `name` or the one that is chosen for its dtype."""
    dtype = DTYPES[arithmetic(name)]
    out = filled(len(left.values), len(right.values), dtype) if out is None else out
    bits = None if mask is None else packed(mask)
    getattr(emulated, f"masked_matmul_{SUFFIXES[dtype]}")(
        left.view,
        right.view,
        out.data_ptr(),
        out.stride(0),
        (0, 0) if bits is None else (bits.data_ptr(), bits.stride(0)),
        PRECISIONS[arithmetic(name)],
        DEVICE,
        configuration=NAMES.index(name) if chosen else -1,
    )
    return out


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pair(name, rows, width, columns, seed=0, **options):
    """Two factors of small whole numbers: every arithmetic multiplies and sums them exactly."""
    g, dtype = generator(seed), DTYPES[arithmetic(name)]
    largest = 1 if dtype == torch.bfloat16 else 4
    return [Matrix(g, size, width, dtype, largest=largest, **options) for size in (rows, columns)]


def exact(left, right, mask=None):
    product = left.values.double() @ right.values.double().T
    return (product if mask is None else torch.where(mask, product, 0)).to(left.values.dtype)


def test_names_are_those_of_the_table(emulated):
    table = emulated.masked_matmul_configurations()
    assert [entry["name"] for entry in table] == NAMES
    for index, entry in enumerate(table):
        assert entry["kernels"] == [f"masked_matmul_kernel<{index}>"]
        # What a multiprocessor of each architecture has, of which every block takes 1 KB more.
        for architecture, kilobytes in ((80, 164), (90, 228), (100, 228)):
            assert entry["resident"][architecture] * (entry["shared_bytes"] + 1024) <= kilobytes * 1024


# Whole numbers: every index, gate and edge


@CONFIGURATIONS
@pytest.mark.parametrize("transposed", [*itertools.product([False, True], repeat=2)])
def test_every_combination_of_gates(emulated, name, transposed):
    g, dtype = generator(), DTYPES[arithmetic(name)]
    mask = torch.rand(37, 45, generator=g) < 0.5
    largest = 1 if dtype == torch.bfloat16 else 4
    for gated in itertools.product([False, True], repeat=2):
        left, right = (
            Matrix(g, rows, 40, dtype, gated=gate, transposed=by_columns, largest=largest)
            for rows, gate, by_columns in zip((37, 45), gated, transposed, strict=True)
        )
        for gates in (None, mask) if all(gated) else (mask,):
            assert torch.equal(multiply(emulated, name, left, right, gates), exact(left, right, gates))


@CONFIGURATIONS
@pytest.mark.parametrize(("rows", "width", "columns"), [(1, 1, 1), (130, 70, 131), (64, 128, 64), (3, 33, 140)])
def test_shapes_with_ragged_edges(emulated, name, rows, width, columns):
    left, right = pair(name, rows, width, columns, gated=True)
    assert torch.equal(multiply(emulated, name, left, right), exact(left, right))


@CONFIGURATIONS
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("padding", "offset"), [(0, 1), (3, 0), (8, 0), (8, 8)])
def test_strides_and_alignments(emulated, name, padding, offset, transposed):
    for gated in (False, True):
        left, right = pair(name, 20, 72, 40, gated=gated, transposed=transposed, padding=padding, offset=offset)
        out = filled(20, 40, left.values.dtype, padding=padding)
        multiply(emulated, name, left, right, out=out)
        assert torch.equal(out, exact(left, right))
        assert out._base[:, 40:].isnan().all()  # nothing is written beyond a row


@CONFIGURATIONS
def test_any_order_of_lanes_gives_the_same(emulated, lane_order, name):
    for transposed in (False, True):
        left, right = pair(name, 40, 100, 70, gated=True, transposed=transposed)
        mask = torch.rand(40, 70, generator=generator()) < 0.5
        assert torch.equal(multiply(emulated, name, left, right, mask), exact(left, right, mask))


@CONFIGURATIONS
def test_long_products_with_few_active_tiles(emulated, name):
    # More tiles than a word of the search has bits; most of them hold no active gate on one side or the other.
    for transposed in (False, True):
        left, right = pair(name, 5, 2300, 9, gated=True, transposed=transposed, density=0.002)
        assert torch.equal(multiply(emulated, name, left, right), exact(left, right))


@CONFIGURATIONS
def test_empty_products(emulated, name):
    left, right = pair(name, 5, 0, 9)
    assert not multiply(emulated, name, left, right).any()
    for rows, columns in ((0, 5), (5, 0)):
        left, right = pair(name, rows, 4, columns)
        assert multiply(emulated, name, left, right).numel() == 0


@CONFIGURATIONS
def test_gates_that_are_all_off(emulated, name):
    for transposed in (False, True):
        left, right = pair(name, 20, 100, 30, gated=True, transposed=transposed, density=0)
        assert not multiply(emulated, name, left, right).any()
    left, right = pair(name, 20, 100, 30)
    assert not multiply(emulated, name, left, right, torch.zeros(20, 30, dtype=torch.bool)).any()


@CONFIGURATIONS
def test_tiles_without_active_gates_are_not_read(emulated, name):
    left, right = pair(name, 16, 160, 24, gated=True, transposed=True)
    left.mask[:, 64:128] = False
    left.bits = packed(left.mask.T)
    left.values[:, 64:128] = 0
    with pages(160, left.values.dtype) as (rows, protect):
        rows[:, :16] = left.stored
        left.stored = rows[:, :16]
        protect(64, 128)
        result = multiply(emulated, name, left, right)
    assert torch.equal(result, exact(left, right))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("bf16")])
def test_elements_behind_gates_are_not_read(emulated, name):
    # bfloat16 comes in copies of 16 bytes, and gates are applied behind them.
    left, right = pair(name, 16, 40, 24, gated=True)
    left.mask[3:12] = False
    left.bits = packed(left.mask)
    left.values[3:12] = 0
    with pages(16, left.values.dtype) as (rows, protect):
        rows[:, :40] = left.stored
        left.stored = rows[:, :40]
        protect(3, 12)
        result = multiply(emulated, name, left, right)
    assert torch.equal(result, exact(left, right))


@CONFIGURATIONS
def test_factors_of_outputs_that_are_off_are_not_read(emulated, name):
    left, right = pair(name, 140, 40, 24)
    mask = torch.rand(140, 24, generator=generator()) < 0.5
    mask[:128] = False
    with pages(140, left.values.dtype) as (rows, protect):
        rows[:, :40] = left.stored
        left.stored = rows[:, :40]
        protect(0, 128)
        result = multiply(emulated, name, left, right, mask)
    assert torch.equal(result, exact(left, right, mask))


# Rounding


@ACCURATE
@pytest.mark.parametrize(("width", "positive"), [(64, False), (64, True), (300, True), (1100, False)])
def test_accuracy_rule(emulated, name, width, positive):
    g, dtype = generator(width), DTYPES[arithmetic(name)]
    left, right = (Matrix(g, rows, width, dtype) for rows in (60, 50))
    if positive:
        for factor in (left, right):
            factor.values, factor.stored = factor.values.abs(), factor.stored.abs()
    wide = np.longdouble if dtype == torch.float64 else np.float64
    a, b = (factor.values.to(torch.float64).numpy().astype(wide) for factor in (left, right))
    reference = a @ b.T
    result, dense = multiply(emulated, name, left, right), left.values @ right.values.T
    error, allowed = (np.abs(r.to(torch.float64).numpy() - reference).max() for r in (result, dense))
    assert error <= 2 * allowed


@pytest.mark.parametrize("name", ["tf32_128x128", "tf32_64x64"])
def test_tf32_rounds_elements_to_eleven_bits(emulated, name):
    left, right = (Matrix(generator(seed), 40, 500, torch.float32) for seed in (1, 2))
    a, b = left.values.double(), right.values.double()
    error = (multiply(emulated, name, left, right) - a @ b.T).abs()
    assert (error <= 2**-10 * (a.abs() @ b.abs().T)).all()
    assert error.max() > 1e-4


def test_narrow_products_by_tf32x3_are_strict(emulated):
    left, right = (Matrix(generator(seed), 20, 63, torch.float32) for seed in (1, 2))
    chosen = multiply(emulated, "tf32x3_64x64", left, right, chosen=False)
    assert torch.equal(chosen, multiply(emulated, "strict_64x64", left, right))
    assert not torch.equal(chosen, multiply(emulated, "tf32x3_64x64", left, right))


@ACCURATE
def test_infinities_and_nans_of_active_elements_arrive(emulated, name):
    left, right = pair(name, 20, 40, 30)
    left.stored[3, 5], left.stored[4, 6] = math.inf, math.nan
    result = multiply(emulated, name, left, right)
    assert not result[3][right.values[:, 5] != 0].isfinite().any()
    assert result[4].isnan().all()
    assert result[[0, 1, 2, *range(5, 20)]].isfinite().all()


@pytest.mark.parametrize("name", [name for name in NAMES if DTYPES[arithmetic(name)] == torch.float32])
def test_nans_as_a_gpu_makes_them_survive_rounding(emulated, name):
    # All bits of the mantissa are on: rounding it up would carry into the sign.
    left, right = pair(name, 20, 40, 30)
    nan = torch.tensor(0x7FFFFFFF, dtype=torch.int32)
    left.stored.view(torch.int32)[3, 5], right.stored.view(torch.int32)[7, 9] = nan, nan
    result = multiply(emulated, name, left, right)
    assert result[3].isnan().all()
    assert result[:, 7].isnan().all()
    assert result.isnan().sum() == 20 + 30 - 1


# Choice of configurations


def chosen_name(emulated, *problem):
    return NAMES[emulated.choose_masked_matmul(*problem)]


@pytest.mark.parametrize("kind", ["strict", "tf32x3", "tf32", "bf16"])
@pytest.mark.parametrize(("architecture", "multiprocessors"), [(80, 108), (90, 132), (100, 148)])
def test_large_tiles_where_they_fill_the_gpu(emulated, kind, architecture, multiprocessors):
    assert chosen_name(emulated, kind, made_up(architecture, multiprocessors), 8192, 8192) == f"{kind}_128x128"
    assert chosen_name(emulated, kind, made_up(architecture, multiprocessors), 256, 512) == f"{kind}_64x64"
    assert chosen_name(emulated, kind, made_up(architecture, multiprocessors), 1, 1) == f"{kind}_64x64"


def test_choice_for_doubles(emulated):
    assert chosen_name(emulated, "f64", made_up(90, 132), 4096, 4096) == "f64_64x64"
    assert chosen_name(emulated, "f64", made_up(90, 132), 200, 200) == "f64_32x32"


def test_configurations_of_another_arithmetic_are_refused(emulated):
    left, right = pair("strict_64x64", 5, 5, 5)
    out = filled(5, 5, torch.float32)
    for configuration in (6, 2, 99):
        with pytest.raises(ValueError, match="configuration"):
            emulated.masked_matmul_f32(
                left.view, right.view, out.data_ptr(), 5, (0, 0), 0, DEVICE, configuration=configuration
            )
    assert out.isnan().all()
