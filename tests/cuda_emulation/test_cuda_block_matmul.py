"""Products whose gates blocks of neurons share, by the CUDA kernels in every configuration."""

import math

import numpy as np
import pytest
import torch
from cases.devices import made_up
from cases.stored import DEVICE, DTYPES, PRECISIONS, SUFFIXES, Matrix, filled, packed, pages

NAMES = [
    *("bf16_256x128", "bf16_128x128", "bf16_128x128_s2", "bf16_256x64", "bf16_128x64", "bf16_256x32"),
    *("tf32_256x128", "tf32_128x128", "tf32_128x128_s2", "tf32_256x64", "tf32_128x64", "tf32_256x32"),
    *("tf32x3_128x128", "tf32x3_128x64", "tf32x3_128x32", "f64_64x64", "f64_64x32"),
]
CONFIGURATIONS = pytest.mark.parametrize("name", NAMES)
# Of the right factor: forward products and input gradients.
TRANSPOSED = pytest.mark.parametrize("transposed", [False, True], ids=["forward", "input_gradient"])
ACCURATE = pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("tf32_")])


def arithmetic(name):
    return name.split("_")[0]


def tile(name):
    """Rows and columns of a configuration's tile."""
    return tuple(int(size) for size in name.split("_")[1].split("x"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def lists_of(gates):
    """What block_lists makes of gates (n, units)."""
    n, units = gates.shape
    lists = torch.empty(units, n + 1, dtype=torch.int32)
    for unit, on in enumerate(gates.T):
        lists[unit, 0] = on.sum()
        lists[unit, 1:] = torch.cat([on.nonzero()[:, 0], (~on).nonzero()[:, 0]])
    return lists


def elements(gates, block, width):
    """Gates of neurons of those of their units."""
    return gates.repeat_interleave(block, 1)[:, :width]


def multiply(
    emulated, left, right, name=None, out=None, gates=None, block=32, gates_left=None, block_left=32, **options
):
    """left @ right.T through gates (n, units) of its columns and of left's, by a configuration or the chosen one."""
    kind = options.get("kind") or arithmetic(name)
    out = filled(len(left.values), len(right.values), DTYPES[kind]) if out is None else out
    lists = None if gates is None else lists_of(gates)
    bits = (0, 0)
    if gates_left is not None:
        rows = packed(gates_left)
        bits = rows.data_ptr(), rows.stride(0)
    getattr(emulated, f"block_matmul_{SUFFIXES[out.dtype]}")(
        (*left.view[:4], bits, left.transposed),
        right.view,
        out.data_ptr(),
        out.stride(0),
        0 if lists is None else lists.data_ptr(),
        block,
        block_left,
        PRECISIONS[kind],
        options.get("device", DEVICE),
        configuration=-1 if name is None else NAMES.index(name),
    )
    return out


def matrix(name, g, rows, width, **options):
    """Small whole numbers, which every arithmetic multiplies and sums exactly."""
    dtype = DTYPES[arithmetic(name)]
    return Matrix(g, rows, width, dtype, largest=1 if dtype == torch.bfloat16 else 4, padding=8, **options)


def problem(name, n, k, units, short=0, block=None, block_left=32, seed=0, transposed=False):
    """Factors and gates: what is off in left is NaN; the last unit has `short` columns less."""
    g, density = generator(seed), 0.5
    block = block or tile(name)[1]
    left, right = matrix(name, g, n, k), matrix(name, g, units * block - short, k, transposed=transposed)
    gates = torch.rand(n, units, generator=g) < density
    gates_left = torch.rand(n, math.ceil(k / block_left), generator=g) < 0.5
    on = elements(gates_left, block_left, k)
    left.values = torch.where(on, left.values, 0)
    left.stored.masked_fill_(~on, math.nan)
    return left, right, {"gates": gates, "block": block, "gates_left": gates_left, "block_left": block_left}


def exact(left, right, gates=None, block=32, **_):
    product = left.values.double() @ right.values.double().T
    if gates is not None:
        product = torch.where(elements(gates, block, product.shape[1]), product, 0)
    return product.to(left.values.dtype)


def test_names_are_those_of_the_table(emulated):
    table = emulated.block_matmul_configurations()
    assert [entry["name"] for entry in table] == [*NAMES, "lists"]
    for index, entry in enumerate(table[:-1]):
        assert entry["kernels"] == [f"block_matmul_kernel<{index}, {transposed}>" for transposed in (0, 1)]
        assert (entry["tile_rows"], entry["tile_columns"]) == tile(entry["name"])
        # What a multiprocessor of each architecture has, of which every block takes 1 KB more.
        for architecture, kilobytes in ((80, 164), (90, 228), (100, 228)):
            assert entry["resident"][architecture] * (entry["shared_bytes"] + 1024) <= kilobytes * 1024


# Lists


@pytest.mark.parametrize("n", [1, 31, 32, 33, 2048, 2049, 5000])
@pytest.mark.parametrize("density", [0, 0.5, 1])
def test_lists(emulated, lane_order, n, density):
    gates = torch.rand(n, 3, generator=generator(n)) < density
    bits = packed(gates.T)
    if n % 8:
        bits[:, n // 8] |= 0xFF << n % 8 & 0xFF  # what is beyond the last sample counts for nothing
    lists = torch.full((3, n + 1), -1, dtype=torch.int32)
    emulated.block_lists((bits.data_ptr(), bits.stride(0)), 3, n, lists.data_ptr(), DEVICE)
    assert torch.equal(lists, lists_of(gates))


# Whole numbers: every row, gate and edge


@CONFIGURATIONS
@TRANSPOSED
def test_gates_of_both_sides(emulated, name, transposed):
    rows, columns = tile(name)
    left, right, options = problem(name, 2 * rows + 21, 136, 2, short=columns // 2 + 8, transposed=transposed)
    assert torch.equal(multiply(emulated, left, right, name, **options), exact(left, right, **options))


@CONFIGURATIONS
@TRANSPOSED
def test_without_gates(emulated, name, transposed):
    rows, columns = tile(name)
    g = generator()
    left, right = matrix(name, g, rows + 5, 40), matrix(name, g, columns + 16, 40, transposed=transposed)
    assert torch.equal(multiply(emulated, left, right, name, block=1), exact(left, right))


@CONFIGURATIONS
@pytest.mark.parametrize("gated", ["out", "left"])
def test_gates_of_one_side(emulated, name, gated):
    left, right, options = problem(name, 70, 72, 2)
    if gated == "out":
        left = matrix(name, generator(1), 70, 72)
        options |= {"gates_left": None}
    else:
        options |= {"gates": None}
    assert torch.equal(multiply(emulated, left, right, name, **options), exact(left, right, **options))


@CONFIGURATIONS
def test_units_that_are_on_or_off_for_all_samples(emulated, name):
    rows, columns = tile(name)
    left, right, options = problem(name, rows + 9, 64, 3, short=columns - 8)
    options["gates"][:, 0], options["gates"][:, 1], options["gates"][:, 2] = True, False, True
    assert torch.equal(multiply(emulated, left, right, name, **options), exact(left, right, **options))
    options["gates"][:] = False
    assert torch.equal(multiply(emulated, left, right, name, **options), torch.zeros_like(exact(left, right)))


@CONFIGURATIONS
@TRANSPOSED
def test_fewer_samples_than_rows_of_a_tile(emulated, name, transposed):
    n = 1 if transposed else 9
    left, right, options = problem(name, n, 24, 2, seed=n, transposed=transposed)
    assert torch.equal(multiply(emulated, left, right, name, **options), exact(left, right, **options))


@pytest.mark.parametrize("name", ["bf16_256x32", "tf32_256x32", "tf32x3_128x32", "f64_64x32"])
@pytest.mark.parametrize("block_left", [32, 64, 96, 256])
def test_units_of_left_along_the_sum(emulated, lane_order, name, block_left):
    # More than 32 units of 32, so that gates take two words of a row.
    left, right, options = problem(name, 40, 1112, 1, block=64, block_left=block_left, seed=block_left)
    assert torch.equal(multiply(emulated, left, right, name, **options), exact(left, right, **options))


@pytest.mark.parametrize("name", ["bf16_256x32", "f64_64x32"])
def test_gates_of_left_take_three_words(emulated, name):
    left, right, options = problem(name, 12, 2120, 1)
    assert torch.equal(multiply(emulated, left, right, name, **options), exact(left, right, **options))


@CONFIGURATIONS
def test_units_wider_than_a_tile(emulated, name):
    left, right, options = problem(name, 33, 64, 2, short=24, block=2 * tile(name)[1], transposed=True)
    assert torch.equal(multiply(emulated, left, right, name, **options), exact(left, right, **options))


@CONFIGURATIONS
def test_results_as_parts_of_wider_rows(emulated, name):
    left, right, options = problem(name, 50, 64, 2, short=16)
    out = filled(50, len(right.values), left.values.dtype, padding=16)
    multiply(emulated, left, right, name, out=out, **options)
    assert torch.equal(out, exact(left, right, **options))
    assert torch.as_strided(out, (50, 16), out.stride(), out.shape[1]).isnan().all()


@CONFIGURATIONS
@TRANSPOSED
def test_a_sum_over_nothing_is_zero(emulated, name, transposed):
    left, right, options = problem(name, 5, 0, 2, transposed=transposed)
    options["gates_left"] = None
    assert torch.equal(multiply(emulated, left, right, name, **options), exact(left, right))


# What is off is neither read nor seen


@CONFIGURATIONS
def test_nans_and_infinities_of_rows_that_are_off_stay_there(emulated, name):
    left, right, options = problem(name, 60, 64, 2)
    options["gates_left"] = None
    left, right = matrix(name, generator(1), 60, 64), matrix(name, generator(2), len(right.values), 64)
    options["gates"][7], options["gates"][8], options["gates"][:, 0] = False, False, options["gates"][:, 1]
    expected = exact(left, right, **options)
    left.stored[7], left.stored[8] = math.nan, math.inf
    assert torch.equal(multiply(emulated, left, right, name, **options), expected)
    # Zeros that are written must not be products of zeros: here each would be NaN.
    right.stored[3], right.stored[5] = math.inf, math.nan
    result = multiply(emulated, left, right, name, **options)
    assert (result[~options["gates"][:, 0]] == 0).all()
    assert not result[options["gates"][:, 0]][:, [3, 5]].isfinite().any()


def test_rows_and_units_that_are_off_are_not_read(emulated):
    elements_of_page = 4096 // 4
    g = generator()
    right = matrix("tf32_256x32", g, 32, 2 * elements_of_page)
    with pages(40, torch.float32) as (memory, protect):
        # A sample has two pages, the first of unit 0 of left, the second of unit 1.
        left = matrix("tf32_256x32", g, 20, 2 * elements_of_page)
        gates, gates_left = torch.rand(20, 1, generator=g) < 0.5, torch.rand(20, 2, generator=g) < 0.5
        memory.view(20, -1).copy_(left.values)
        on = elements(gates_left, elements_of_page, 2 * elements_of_page)
        left.values, left.stored = torch.where(on, left.values, 0), memory.view(20, -1)
        for page, allowed in enumerate((gates & gates_left).flatten()):
            if not allowed:
                protect(page, page + 1)
        options = {"gates": gates, "gates_left": gates_left, "block_left": elements_of_page}
        assert torch.equal(multiply(emulated, left, right, "tf32_256x32", **options), exact(left, right, gates))


@ACCURATE
def test_infinities_and_nans_of_rows_that_are_on_arrive(emulated, name):
    g = generator()
    left, right = matrix(name, g, 20, 40), matrix(name, g, 32, 40)
    left.stored[3, 5], left.stored[4, 6] = math.inf, math.nan
    result = multiply(emulated, left, right, name)
    assert not result[3][right.values[:, 5] != 0].isfinite().any()
    assert result[4].isnan().all()
    assert result[[0, 1, 2, *range(5, 20)]].isfinite().all()


# Rounding


@ACCURATE
@pytest.mark.parametrize(
    ("width", "positive", "transposed"), [(64, False, False), (304, True, True), (1112, False, False)]
)
def test_accuracy_rule(emulated, name, width, positive, transposed):
    g, dtype = generator(width), DTYPES[arithmetic(name)]
    left, right = Matrix(g, 60, width, dtype), Matrix(g, 64, width, dtype, transposed=transposed)
    gates = torch.rand(60, 64 // min(64, tile(name)[1]), generator=g) < 0.9
    if positive:
        for factor in (left, right):
            factor.values, factor.stored = factor.values.abs(), factor.stored.abs()
    mask = elements(gates, tile(name)[1], 64).numpy()
    wide = np.longdouble if dtype == torch.float64 else np.float64
    a, b = (factor.values.to(torch.float64).numpy().astype(wide) for factor in (left, right))
    reference = np.where(mask, a @ b.T, 0)
    result = multiply(emulated, left, right, name, gates=gates, block=tile(name)[1])
    dense = left.values @ right.values.T
    error, allowed = (np.abs(np.where(mask, r.double().numpy(), 0) - reference).max() for r in (result, dense))
    assert error <= 2 * allowed


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("tf32_")])
def test_tf32_rounds_elements_to_eleven_bits(emulated, name):
    left, right = (Matrix(generator(seed), 40, 504, torch.float32) for seed in (1, 2))
    a, b = left.values.double(), right.values.double()
    error = (multiply(emulated, left, right, name) - a @ b.T).abs()
    assert (error <= 2**-10 * (a.abs() @ b.abs().T)).all()
    assert error.max() > 1e-4


# Choice of configurations


@pytest.mark.parametrize("kind", ["bf16", "tf32"])
@pytest.mark.parametrize(("architecture", "multiprocessors"), [(80, 108), (90, 132)])
def test_tiles_as_wide_as_units_and_tall_where_they_fill_the_gpu(emulated, kind, architecture, multiprocessors):
    device = made_up(architecture, multiprocessors)

    def chosen(n, columns, block):
        return NAMES[emulated.choose_block_matmul(kind, device, n, columns, block)]

    # Two blocks to a multiprocessor: sm_80 has the shared memory for two stages of each, sm_90 for three.
    assert chosen(8192, 4096, 128) == chosen(8192, 4096, 256) == f"{kind}_128x128{'_s2' if architecture == 80 else ''}"
    assert chosen(65536, 4096, 128) == f"{kind}_256x128"
    assert chosen(8192, 4096, 64) == f"{kind}_256x64"
    assert chosen(8192, 4096, 32) == chosen(8192, 4096, 96) == f"{kind}_256x32"
    # One unit of any width.
    assert chosen(65536, 4096, 4096) == chosen(65536, 4100, 4100) == f"{kind}_256x128"
    assert chosen(256, 4096, 64) == chosen(256, 4096, 256) == f"{kind}_128x64"


@pytest.mark.parametrize("kind", ["bf16", "tf32", "tf32x3", "f64"])
@pytest.mark.parametrize("shared_bytes", [99 * 1024, 163 * 1024, 227 * 1024])
@pytest.mark.parametrize(("architecture", "multiprocessors"), [(80, 108), (86, 84), (90, 132)])
@pytest.mark.parametrize("block", [32, 64, 128, 256])
def test_what_is_chosen_starts_and_fits_the_units(emulated, kind, shared_bytes, architecture, multiprocessors, block):
    device = made_up(architecture, multiprocessors, shared_bytes)
    table = emulated.block_matmul_configurations()
    for n in (1, 200, 2048, 100_000):
        for columns in (32, 1024, 4096):
            entry = table[emulated.choose_block_matmul(kind, device, n, columns, block)]
            assert entry["arithmetic"] == kind
            assert entry["shared_bytes"] <= shared_bytes
            assert block % entry["tile_columns"] == 0 or block >= columns


@pytest.mark.parametrize("kind", ["bf16", "tf32", "tf32x3", "f64"])
def test_the_chosen_configuration_computes(emulated, kind):
    name = next(name for name in NAMES if arithmetic(name) == kind)
    left, right, options = problem(name, 45, 72, 3, block=32, short=8)
    for device in (made_up(86, 84), DEVICE, made_up(90, 132)):
        result = multiply(emulated, left, right, kind=kind, device=device, **options)
        assert torch.equal(result, exact(left, right, **options))


# Errors


def refused(emulated, message, name="tf32_128x64", error=ValueError, width=72, columns=128, **options):
    g = generator()
    left, right = matrix(name, g, 5, width), matrix(name, g, columns, options.pop("right_width", width))
    if (change := options.pop("change", None)) is not None:
        change(left, right)
    out = filled(5, columns, left.values.dtype, padding=options.pop("padding", 0))
    with pytest.raises(error, match=message):
        multiply(emulated, left, right, options.pop("named", name), out=out, **options)
    assert out.isnan().all()


def test_errors_name_the_argument(emulated):
    gates, gates_left = torch.ones(5, 4, dtype=torch.bool), torch.ones(5, 5, dtype=torch.bool)
    refused(emulated, r"right: expected 72 elements along the sum, as left has, got 76", right_width=76)
    refused(emulated, r"left: expected rows of a multiple of 16 bytes .* got rows of 70 elements of 4 bytes", width=70)
    refused(emulated, r"out: expected rows .* got rows of 126 elements", columns=126)
    refused(emulated, r"out: expected rows .* 129 apart", padding=1)
    refused(emulated, r"block_out: expected a multiple of 32 neurons, got 40", gates=gates, block=40)
    refused(emulated, r"block_left: expected a multiple of 32 neurons, got 16", gates_left=gates_left, block_left=16)
    refused(emulated, r"configuration: tf32_128x64 has 64 columns.* block_out = 32", gates=gates, block=32)
    refused(emulated, r"configuration: ", "bf16_128x64", named="tf32_128x64")
    refused(emulated, r"precision: .*not strict", "tf32_128x64", kind="strict", named=None)
    refused(
        emulated, r"precision: tf32x3 takes sums of 64 products at least, got 60", width=60, kind="tf32x3", named=None
    )

    def turn(left, right):
        left.transposed = True

    def shift(left, right):
        right.stored = right.stored[:, 1:]

    refused(emulated, r"left: expected rows along the sum", change=turn)
    refused(emulated, r"right: expected rows .* an address that is 4 beyond", change=shift)


def test_bits_at_odd_places_are_refused(emulated):
    lists = torch.zeros(2, 10, dtype=torch.int32)
    for gates in ((1, 16), (16, 3)):
        with pytest.raises(ValueError, match="gates: expected rows of bits at multiples of 4 bytes"):
            emulated.block_lists(gates, 2, 9, lists.data_ptr(), DEVICE)
