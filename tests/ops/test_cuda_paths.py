"""Which way a product on a CUDA device goes: a pure function of sizes, gates, arithmetic and architecture."""

import itertools

import pytest
import torch
from cases.products import Case

from gatentk import ops
from gatentk.ops import cuda_paths
from gatentk.ops.cuda_paths import PREDICTED, Work, choose, obstacle
from gatentk.ops.layouts import MaskedProduct

KINDS = ("forward", "input_gradient", "weight_gradient")
DTYPES = {
    "strict": torch.float32,
    "tf32x3": torch.float32,
    "tf32": torch.float32,
    "f64": torch.float64,
    "bf16": torch.bfloat16,
}


def work(kind="forward", arithmetic="tf32x3", samples=1 << 16, widths=(4096, 4096), blocks=(128, 128)):
    return Work(kind, DTYPES[arithmetic], arithmetic, samples, widths, blocks)


@pytest.mark.parametrize(("kind", "arithmetic", "architecture"), PREDICTED)
def test_auto_takes_blocks_from_the_predicted_sizes_on(kind, arithmetic, architecture):
    least = PREDICTED[kind, arithmetic, architecture]
    at = work(kind, arithmetic, least.samples, (least.width,) * 2, (least.block,) * 2)
    assert choose(at, "auto", architecture) == "blocks"
    for smaller in (
        at._replace(samples=least.samples - 1),
        at._replace(widths=(least.width - 32, least.width)),
        at._replace(widths=(least.width, least.width - 32)),
        at._replace(blocks=(least.block // 2,) * 2),
        at._replace(blocks=(0, 0)),
        at._replace(blocks=(1, 1)),
    ):
        assert choose(smaller, "auto", architecture) == "dense"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arithmetic", DTYPES)
def test_auto_is_dense_where_nothing_is_predicted(kind, arithmetic):
    for architecture in (75, 80, 86, 89, 90, 100, 120):
        if (kind, arithmetic, architecture) not in PREDICTED:
            assert choose(work(kind, arithmetic), "auto", architecture) == "dense"


@pytest.mark.parametrize("architecture", [80, 86, 90, 100])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arithmetic", DTYPES)
def test_masked_takes_blocks_wherever_they_can_run(kind, arithmetic, architecture):
    small = work(kind, arithmetic, 256, (64, 96), (32, 32))
    assert choose(small, "masked", architecture) == ("dense" if arithmetic == "strict" else "blocks")
    assert choose(small, "dense", architecture) == "dense"


@pytest.mark.parametrize(
    ("kind", "blocks", "way"),
    [
        ("forward", (0, 64), "blocks"),
        ("forward", (1, 64), "blocks"),
        ("forward", (48, 64), "blocks"),
        ("forward", (64, 0), "dense"),
        ("forward", (64, 1), "dense"),
        ("forward", (64, 48), "dense"),
        ("input_gradient", (0, 96), "blocks"),
        ("input_gradient", (96, 0), "dense"),
        ("weight_gradient", (64, 0), "blocks"),
        ("weight_gradient", (0, 64), "blocks"),
        ("weight_gradient", (1, 64), "blocks"),
        ("weight_gradient", (1, 1), "dense"),
        ("weight_gradient", (48, 1), "dense"),
    ],
)
def test_what_is_skipped_by_must_have_blocks_of_whole_tiles(kind, blocks, way):
    of = work(kind, "bf16", blocks=blocks)
    assert choose(of, "masked", 90) == way
    assert (obstacle(of) is None) == (way == "blocks")


@pytest.mark.parametrize("kind", KINDS)
def test_the_narrowest_block_that_is_skipped_by_counts(kind):
    least = PREDICTED[kind, "bf16", 90].block
    for blocks, way in (((least, least // 2), "dense"), ((least, least), "blocks"), ((0, least), "blocks")):
        assert choose(work(kind, "bf16", blocks=blocks), "auto", 90) == way
    narrow = choose(work(kind, "bf16", blocks=(least // 2, least)), "auto", 90)
    assert narrow == ("dense" if kind == "weight_gradient" else "blocks")


@pytest.mark.parametrize("arithmetic", ["tf32x3", "tf32", "bf16", "f64"])
def test_running_sums_of_tensor_cores_are_not_endless(arithmetic):
    of = work("weight_gradient", arithmetic, samples=1 << 18)
    longer = of._replace(samples=(1 << 18) + 1)
    assert obstacle(of) is None
    assert (obstacle(longer) is None) == (arithmetic in ("tf32x3", "f64"))
    assert choose(longer, "masked", 90) == ("blocks" if arithmetic in ("tf32x3", "f64") else "dense")


@pytest.mark.parametrize(("arithmetic", "chunk"), [("tf32x3", 4), ("tf32", 4), ("f64", 2), ("bf16", 8)])
def test_rows_are_copied_in_16_bytes(arithmetic, chunk):
    for kind, side in itertools.product(KINDS, (0, 1)):
        for odd in (1, chunk // 2, chunk - 1):
            widths = [4096, 4096]
            widths[side] += odd
            assert f"rows of {4096 + odd} values" in obstacle(work(kind, arithmetic, widths=tuple(widths)))
            widths[side] += chunk - odd
            assert obstacle(work(kind, arithmetic, widths=tuple(widths))) is None


@pytest.mark.parametrize("arithmetic", ["tf32x3", "tf32", "bf16", "f64"])
@pytest.mark.parametrize(
    ("kind", "samples", "width", "blocks", "short"),
    [
        ("forward", 4096, 64, (64, 64), False),
        ("forward", 4096, 56, (64, 64), True),
        ("input_gradient", 4096, 56, (0, 64), True),
        ("weight_gradient", 256, 64, (64, 64), False),
        ("weight_gradient", 255, 64, (64, 64), True),  # half of either side's gates leave a quarter
        ("weight_gradient", 255, 64, (1, 64), True),
        ("weight_gradient", 64, 64, (0, 64), False),
        ("weight_gradient", 63, 64, (64, 0), True),
    ],
)
def test_short_sums_are_left_to_torch_in_tf32x3_alone(arithmetic, kind, samples, width, blocks, short):
    found = obstacle(work(kind, arithmetic, samples, (width, 4096), blocks))
    assert found is None or "as accurate as float32" in found
    assert (found is None) == (not short or arithmetic != "tf32x3")


@pytest.mark.parametrize("arithmetic", DTYPES)
def test_single_neurons_gain_by_arithmetic_alone_and_if_asked_for(arithmetic):
    way = "whole" if arithmetic == "tf32x3" else "dense"
    asked = [work(kind, arithmetic, blocks=blocks) for kind in KINDS for blocks in ((1, 1), (1, 0), (0, 1), (8, 8))]
    asked += [work("forward", arithmetic, blocks=blocks) for blocks in ((64, 1), (64, 0))]
    for product in asked:
        assert choose(product, "masked", 80) == way
        assert choose(product, "auto", 80) == choose(product, "dense", 80) == "dense"
        assert choose(product._replace(blocks=(0, 0)), "masked", 80) == "dense"
        assert choose(product._replace(widths=(4096, 4095)), "masked", 80) == "dense"
        assert choose(product._replace(samples=9, widths=(32, 4096)), "masked", 80) == "dense"


def test_lists_are_for_batches_that_some_device_skips_in():
    least, width = cuda_paths.FEWEST_SAMPLES, cuda_paths.NARROWEST
    assert cuda_paths.reads_lists("auto", least, width, 64)
    assert cuda_paths.reads_lists("masked", 1, 64, 64)
    for method, *sizes in (
        ("auto", least - 1, width, 64),
        ("auto", least, width - 1, 64),
        ("auto", least, width, 1),
        ("auto", least, width, 48),
        ("dense", least, width, 64),
        ("masked", 9, width, 1),
    ):
        assert not cuda_paths.reads_lists(method, *sizes)


def test_small_products_are_dense_without_a_word():
    assert cuda_paths.is_told(work(arithmetic="strict"))
    assert not cuda_paths.is_told(work(arithmetic="strict", widths=(10, 4096)))
    assert not cuda_paths.is_told(work(arithmetic="strict", samples=100))
    assert not cuda_paths.is_told(work(arithmetic="strict", blocks=(1, 1)))
    assert not cuda_paths.is_told(work(arithmetic="strict", blocks=(64, 0)))  # where nothing can be skipped by a gate
    assert cuda_paths.is_told(work("weight_gradient", "strict", blocks=(64, 0)))


# The work of a product


@pytest.mark.parametrize("gates", [("in", "out"), ("in",), ("out",), ()])
def test_the_work_of_the_three_products_of_a_layer(gates):
    case = Case(7, 128, 64, torch.float32)
    sides = {"in": (case.mask_in, 32), "out": (case.mask_out, 16)}
    given = {name: [ops.pack_bits(mask[:, ::block].contiguous())] for name, (mask, block) in sides.items()}
    inside, outside = (given[name] if name in gates else [] for name in ("in", "out"))
    block_in, block_out = 32 * bool(inside), 16 * bool(outside)
    blocks = block_in or 1, 1, block_out or 1
    z, weight, upstream = case.tensors()
    forward = MaskedProduct(z, weight, False, True, inside, [], outside, 0, blocks)
    by_z = MaskedProduct(upstream, weight, False, False, outside, [], inside, 0, blocks[::-1])
    by_weight = MaskedProduct(upstream, z, True, False, outside, inside, [], 0, (blocks[2], blocks[0], 1))
    f32 = torch.float32
    for product, expected in (
        (forward, Work("forward", f32, "tf32", 7, (128, 64), (block_in, block_out))),
        (by_z, Work("input_gradient", f32, "tf32", 7, (64, 128), (block_out, block_in))),
        (by_weight, Work("weight_gradient", f32, "tf32", 7, (64, 128), (block_out, block_in))),
    ):
        assert cuda_paths.work_of(product, "tf32") == expected


def test_products_that_mask_a_weight_have_no_work():
    z, weight = torch.ones(3, 64), torch.ones(5, 64)
    bits = ops.pack_bits(torch.ones(5, 2, dtype=torch.bool))
    assert cuda_paths.work_of(MaskedProduct(z, weight, False, True, [], [bits], [], 0, (1, 32, 1)), "tf32") is None
