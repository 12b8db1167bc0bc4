"""Which configurations start on devices with less shared memory, and what their results are."""

import numpy as np
import pytest
import torch
from cases.devices import made_up
from cases.stored import DTYPES, PRECISIONS, SUFFIXES, Matrix, filled, packed

KB = 1024
LIMITS = (48 * KB, 99 * KB, 163 * KB, 227 * KB)
TILES = ("block_matmul", "gram")
SHAPES = [(1, 1), (130, 70), (256, 512), (500, 500), (1100, 1100), (2000, 2000), (8192, 8192)]
# One multiprocessor takes large tiles as soon as there is work for one.
SMALL_CARD = made_up(86, 1)
LARGE_CARD = made_up(80, 1)


def kinds(family):
    return ("tf32x3", "tf32", "f64", "bf16") if family == "block_matmul" else ("strict", "tf32x3", "tf32", "f64")


def problems(family):
    """Arguments of the family's choice behind the device, for problems of many sizes, and those before it."""
    for rows, columns in SHAPES:
        for symmetric in (False, True) if rows == columns else (False,):
            if family == "block_matmul":
                sizes = ((rows, columns, block) for block in (32, 64, 128, 256) if not symmetric)
                yield from (((kind,), size) for kind in kinds(family) for size in sizes)
            elif family == "gram":
                yield from (((kind,), (rows, columns, symmetric)) for kind in kinds(family))
            elif family == "infinite_ntk":
                yield from (((), (size, rows, columns, symmetric)) for size in (4, 8))
            else:
                yield (), (rows, columns, symmetric)


def choose(emulated, family, device, before, behind):
    index = getattr(emulated, f"choose_{family}")(*before, device, *behind)
    return getattr(emulated, f"{family}_configurations")()[index]


@pytest.mark.parametrize("family", [*TILES, "gate_gram", "infinite_ntk"])
@pytest.mark.parametrize("limit", LIMITS[1:])
@pytest.mark.parametrize(("architecture", "multiprocessors"), [(80, 108), (86, 84), (90, 132), (100, 148), (120, 170)])
def test_what_is_chosen_starts(emulated, family, limit, architecture, multiprocessors):
    device = made_up(architecture, multiprocessors, limit)
    for problem in problems(family):
        assert choose(emulated, family, device, *problem)["shared_bytes"] <= limit


@pytest.mark.parametrize("family", [*TILES, "gate_gram", "infinite_ntk"])
@pytest.mark.parametrize(("architecture", "limit"), [(80, 163 * KB), (90, 227 * KB), (100, 227 * KB)])
def test_where_all_configurations_start_the_limit_changes_nothing(emulated, family, architecture, limit):
    for multiprocessors in (1, 108, 132):
        device, unlimited = (made_up(architecture, multiprocessors, bytes_) for bytes_ in (limit, 1 << 30))
        for problem in problems(family):
            assert choose(emulated, family, device, *problem) == choose(emulated, family, unlimited, *problem)


@pytest.mark.parametrize(
    ("family", "kind", "names"),
    [
        ("block_matmul", "tf32x3", (None, "tf32x3_128x64", "tf32x3_128x128", "tf32x3_128x128")),
        ("block_matmul", "tf32", (None, "tf32_128x128", "tf32_256x128", "tf32_256x128")),
        ("block_matmul", "bf16", (None, "bf16_128x128", "bf16_256x128", "bf16_256x128")),
        ("block_matmul", "f64", ("f64_64x32", "f64_64x64", "f64_64x64", "f64_64x64")),
        ("gram", "strict", (None, "strict_64x64", "strict_128x128", "strict_128x128")),
        ("gram", "tf32x3", (None, "tf32x3_64x64", "tf32x3_128x128", "tf32x3_128x128")),
        ("gram", "tf32", (None, "tf32_64x64", "tf32_128x128", "tf32_128x128")),
        ("gram", "f64", ("f64_32x32", "f64_64x64", "f64_64x64", "f64_64x64")),
        ("gate_gram", None, ("tensor 64x64", "tensor 128x128", "tensor 128x128", "tensor 128x128")),
        ("infinite_ntk", 4, ("f32 64x64",) * 4),
        ("infinite_ntk", 8, ("f64 64x64",) * 4),
    ],
)
def test_large_problems_take_the_largest_tile_that_starts(emulated, family, kind, names):
    before = (kind,) if family in TILES else ()
    last = (256,) if family == "block_matmul" else (False,)
    behind = ((kind,) if family == "infinite_ntk" else ()) + (8192, 8192) + last
    for limit, name in zip(LIMITS, names, strict=True):
        chosen = choose(emulated, family, made_up(80, 108, limit), before, behind)
        if name is None:
            assert chosen["shared_bytes"] > limit
            assert family == "block_matmul" or chosen["name"].endswith("64x64")
        else:
            assert chosen["name"] == name


def test_blocks_that_share_a_multiprocessor_are_those_that_fit(emulated):
    # 9 small tiles, or 4 large ones whose time is that of 12 small ones. With 164 KB four small tiles share a
    # multiprocessor, so 9 take as long as 12; with 100 KB two do, and 9 take as long as 10.
    for card, name in ((LARGE_CARD, "f64_64x64"), (SMALL_CARD, "f64_32x32")):
        assert choose(emulated, "gram", card, ("f64",), (96, 96, False))["name"] == name


# Results


def gram(emulated, kind, factors, device, configuration=-1):
    n = len(factors[0].values)
    out = filled(n, n, DTYPES[kind])
    act, delta = (factor.view for factor in factors)
    run = getattr(emulated, f"gram_{SUFFIXES[out.dtype]}")
    terms = [(act, act, delta, delta, 0.0)]
    run(n, n, True, terms, out.data_ptr(), n, PRECISIONS[kind], device, configuration=configuration)
    return out


def wide(values):
    """The same numbers in a wider type."""
    return values.to(torch.float64).numpy().astype(np.longdouble)


def error(result, reference):
    return np.abs(wide(result) - reference).max()


@pytest.mark.parametrize("kind", ["strict", "tf32x3", "f64", "tf32"])
def test_grams_of_a_small_card_follow_the_accuracy_rule(emulated, kind):
    small, large = (choose(emulated, "gram", card, (kind,), (128, 128, True)) for card in (SMALL_CARD, LARGE_CARD))
    assert small["name"] == large["name"] if kind == "f64" else small["tile_rows"] < large["tile_rows"]
    g = torch.Generator().manual_seed(0)
    factors = [Matrix(g, 128, width, DTYPES[kind], in_chunks=True) for width in (300, 70)]
    result = gram(emulated, kind, factors, SMALL_CARD)
    reference, plain, sizes = 1, 1, 1
    for factor in factors:
        reference = reference * (wide(factor.values) @ wide(factor.values).T)
        plain = plain * (factor.values @ factor.values.T)
        sizes = sizes * (np.abs(wide(factor.values)) @ np.abs(wide(factor.values)).T)
    if kind == "tf32":  # two factors, each with the error of a product
        assert (np.abs(wide(result) - reference) <= 2.1 * 2**-10 * sizes).all()
    else:
        assert error(result, reference) <= 2 * error(plain, reference)


# Devices on which nothing starts


@pytest.mark.parametrize("kind", ["strict", "tf32x3", "tf32"])
def test_grams_say_what_they_need(emulated, kind):
    g = torch.Generator().manual_seed(0)
    factors = [Matrix(g, 9, width, DTYPES[kind], in_chunks=True) for width in (70, 64)]
    needed = min(e["shared_bytes"] for e in emulated.gram_configurations() if e["arithmetic"] == kind)
    for limit in (48 * KB, needed - 1):
        message = f"^gram: needs {needed} bytes of shared memory for a block, and the device has {limit}$"
        with pytest.raises(RuntimeError, match=message):
            gram(emulated, kind, factors, made_up(80, 108, limit))
    assert gram(emulated, kind, factors, made_up(80, 108, needed)).isfinite().all()


def test_configurations_that_are_given_must_start_too(emulated):
    g = torch.Generator().manual_seed(0)
    factors = [Matrix(g, 9, width, torch.float32, in_chunks=True) for width in (70, 64)]
    with pytest.raises(RuntimeError, match=r"needs 163840 bytes .* the device has 101376"):
        gram(emulated, "strict", factors, SMALL_CARD, configuration=0)


def test_the_other_families_say_what_they_need(emulated):
    device = made_up(80, 108, 1 * KB)
    bits = packed(torch.ones(4, 128, dtype=torch.bool))
    view, x, out = (bits.data_ptr(), bits.stride(0)), torch.zeros(1 << 14), torch.zeros(1 << 14)
    rows = (x.data_ptr(), 4, 8, 8, (0, 0), False)
    for message, call in (
        ("gate_gram: needs 30720", lambda: emulated.gate_gram(view, 4, view, 4, 16, True, out.data_ptr(), device)),
        (
            "ordered_linear: needs 32768",
            lambda: emulated.ordered_linear_f32(rows, rows, False, out.data_ptr(), 4, device),
        ),
        (
            "infinite_ntk: needs 15360",
            lambda: emulated.infinite_ntk_f32(0, [1], True, rows, rows, out.data_ptr(), 16, 4, x.data_ptr(), device),
        ),
        (
            "transpose_bits: needs 18432",
            lambda: emulated.transpose_bits(*view, 4, 128, out.data_ptr(), 16, device),
        ),
    ):
        with pytest.raises(
            RuntimeError, match=f"^{message} bytes of shared memory for a block, and the device has 1024$"
        ):
            call()


def test_48_kilobytes_are_enough_for_all_but_products_of_floats(emulated):
    assert max(entry["shared_bytes"] for entry in emulated.infinite_ntk_configurations()) <= 48 * KB
    assert max(entry["shared_bytes"] for entry in emulated.pack_bits_configurations()) <= 48 * KB
    assert min(entry["shared_bytes"] for entry in emulated.gate_gram_configurations()) <= 48 * KB
