"""Tiles: how often a warp multiplies in a turn of the main loop."""

import pytest
from sass.tiles import Tile


def tile(arithmetic, rows, columns, warps):
    return Tile("t", arithmetic, rows, columns, 32 * warps, ("k",))


@pytest.mark.parametrize(
    ("arithmetic", "rows", "columns", "warps", "products"),
    [
        # A warp's part of 64 x 64, in 16 x 8 x 16 of bfloat16 or 16 x 8 x 8 of TF32, 64 or 32 deep.
        ("bf16", 128, 128, 4, 4 * 8 * 4),
        ("tf32", 128, 128, 4, 4 * 8 * 4),
        ("tf32x3", 128, 128, 8, 3 * 4 * 4 * 4),  # 64 x 32, three products of each
        ("f64", 64, 64, 4, 4 * 4 * 4),  # 32 x 32 in 8 x 8 x 4, 16 deep
        ("strict", 128, 128, 8, 128 * 128 * 32 / 256),
    ],
)
def test_products_of_a_warp_and_turn(arithmetic, rows, columns, warps, products):
    assert tile(arithmetic, rows, columns, warps).products == products


def test_rows_of_a_turn_have_128_bytes():
    assert [tile(name, 64, 64, 4).depth for name in ("bf16", "tf32", "f64")] == [64, 32, 16]
    assert [tile(name, 64, 64, 4).flush_turns for name in ("bf16", "tf32x3", "f64")] == [1, 16, 8]


def test_a_tile_is_read_from_what_the_module_lists():
    entry = {"name": "bf16_128x64", "arithmetic": "bf16", "tile_rows": 128, "tile_columns": 64, "threads": 128}
    found = Tile.of(entry | {"kernels": ["k<1>", "k<2>"], "stages": 3})
    assert found == Tile("bf16_128x64", "bf16", 128, 64, 128, ("k<1>", "k<2>"))
    assert (found.quarter, found.size) == (1, 2)
