"""Predicted times of products with block gates: the model on made-up kernels, and what was asked of those compiled."""

import importlib

import pytest
from sass import blocks
from sass.blocks import ARITHMETIC, ASKED, KINDS, REACHED, Case
from sass.devices import A100, DEVICES, H100, START
from sass.tiles import Tile

from gatentk.ops import cuda_paths

TILE = Tile("bf16_128x128", "bf16", 128, 128, 128, ("k",))
FORWARD = Case("forward", "bf16", 8192, 4096, 128)
GRADIENT = Case("weight gradient", "bf16", 8192, 4096, 128)


def test_half_of_the_rows_and_a_quarter_of_the_samples_are_multiplied():
    # 32 units of 4096 rows that are on, which end anywhere in a tile
    assert FORWARD.tiles(TILE) == 32 * 32.5
    assert FORWARD.turns(TILE) == 64
    assert GRADIENT.tiles(TILE) == 32 * 32
    assert GRADIENT.turns(TILE) == 2048 / 64 + 0.5
    # A tile lies in one unit, whatever its size.
    assert GRADIENT.tiles(Tile("bf16_256x128", "bf16", 256, 128, 256, ("k",))) == 32 * 32
    assert Case("weight gradient", "bf16", 8192, 4096, 256).tiles(TILE) == 16 * 2 * 16 * 2


def test_reads_are_those_of_both_factors_of_every_tile():
    turns = FORWARD.tiles(TILE) * FORWARD.turns(TILE)
    assert FORWARD.l2_bytes(TILE, 1) == turns * 2 * 128 * 128
    assert FORWARD.l2_bytes(TILE, 0.5) == turns * 1.5 * 128 * 128
    # (1 / g + 1 / BM) loads a multiply-add, of two bytes
    assert FORWARD.l2_bytes(TILE, 1) == pytest.approx(8192 * 0.5 * 4096 * 4096 * 2 * (2 / 128), rel=0.02)


def test_the_slowest_pipe_limits_the_time():
    busy = {"tensor": 1024.0, "issue": 300.0}
    seconds, limit = FORWARD.seconds(A100, TILE, busy)
    assert limit == "tensor"
    share = 32 * 32.5 / 108 + 0.5
    assert seconds == pytest.approx(START + share * 64 * 1024 / 1.41e9 / REACHED)
    assert FORWARD.seconds(H100, TILE, {"tensor": 1.0})[1] == "L2"
    assert FORWARD.seconds(A100, TILE, busy | {"integer": 2048.0})[1] == "integer"


def test_few_tiles_take_as_long_as_one():
    few = Case("forward", "bf16", 256, 4096, 128)
    assert few.tiles(TILE) < 108
    assert few.seconds(A100, TILE, {"tensor": 1e4})[0] == pytest.approx(START + 64 * 1e4 / 1.41e9 / REACHED)


def test_the_peer_masks_results_of_rows_only():
    for device in DEVICES:
        dense = device.cublas_seconds(8192, 4096, 4096, "bf16")
        assert FORWARD.peer_seconds(device) == dense + device.mask_seconds(8192 * 4096, 2)
        assert GRADIENT.peer_seconds(device) == device.cublas_seconds(4096, 4096, 8192, "bf16")
    exact = Case("forward", "tf32x3", 8192, 4096, 128)
    assert exact.peer_seconds(H100) > 10 * FORWARD.peer_seconds(H100)


@pytest.fixture(scope="module")
def compiled(built):
    module = importlib.import_module("gatentk._cuda")
    if not all(hasattr(module, f"{family}_configurations") for family in ("block_matmul", "block_weight_gradient")):
        pytest.skip("the built module has no products with block gates")
    found = blocks.Kernels()
    if not {device.architecture for device in DEVICES} <= {architecture for _, architecture in found.compiled}:
        pytest.skip("the built module is not for sm_80 and sm_90")
    return found


@pytest.mark.parametrize(("kind", "arithmetic"), ASKED)
def test_predicted_ratios_are_those_that_were_asked_for(compiled, kind, arithmetic):
    for device in DEVICES:
        found = compiled.predict(Case(kind, arithmetic, 8192, 4096, 128), device)
        assert found.ratio >= ASKED[kind, arithmetic][device.name], (device.name, found.ratio)


@pytest.mark.parametrize("kind", KINDS)
def test_products_of_blocks_of_128_leave_the_tensor_pipe_its_cycles(compiled, kind):
    for arithmetic in ARITHMETIC:
        for device in DEVICES:
            found = compiled.predict(Case(kind, arithmetic, 8192, 4096, 128), device)
            assert found.core.beside_tensor(copies=True) < 0.7, (arithmetic, device.name)


def test_thresholds_are_numbers_of_samples_or_none(compiled):
    lines = list(blocks.thresholds(compiled))
    assert len(lines) == 2 + len(KINDS) * len(ARITHMETIC)
    assert all(line.count("/") == 3 * len(DEVICES) for line in lines[2:])


def test_what_the_library_takes_from_predictions_is_predicted(compiled):
    """The rule of `auto` on CUDA devices, where it begins and for larger batches and layers."""
    by_architecture = {device.architecture: device for device in DEVICES}
    for (kind, arithmetic, architecture), least in cuda_paths.PREDICTED.items():
        for n, m in ((least.samples, least.width), (least.samples, 4096), (8192, 4096)):
            case = Case(kind.replace("_", " "), arithmetic, n, m, least.block)
            assert compiled.predict(case, by_architecture[architecture]).ratio >= 1.15, (case, architecture)
