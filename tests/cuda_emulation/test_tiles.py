"""Tiles in shared memory: their products in every layout, and the banks that loads of fragments touch."""

import ctypes

import numpy as np
import pytest
from cases import emulation_build


@pytest.fixture(scope="module")
def tiles():
    """The library of single tiles."""
    try:
        return ctypes.CDLL(str(emulation_build.tiles()))
    except emulation_build.CompileError as error:
        pytest.fail(str(error), pytrace=False)


class Described:
    """A tile as the library describes it."""

    def __init__(self, tiles, index):
        said = (ctypes.c_int * 10)()
        tiles.describe_tile(index, said)
        self.rows, self.columns, self.depth, self.threads, *rest = said
        self.fragments, (self.steps, self.bytes, *outer) = rest[:2], rest[2:]
        self.outer = tuple(map(bool, outer))


def every(tiles):
    return [(index, Described(tiles, index)) for index in range(tiles.tile_count())]


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def test_every_arithmetic_has_every_layout(tiles):
    assert {(tile.bytes, tile.outer) for _, tile in every(tiles)} == {
        (size, (left, right)) for size in (2, 4, 8) for left in (False, True) for right in (False, True)
    }


def test_products_of_every_layout(tiles):
    generator = np.random.default_rng(0)
    for index, tile in every(tiles):
        # Whole numbers, of which every arithmetic makes exact sums.
        left, right = (
            generator.integers(-8, 9, size=(rows, tile.depth)).astype(float) for rows in (tile.rows, tile.columns)
        )
        out = np.full((tile.rows, tile.columns), np.nan)
        tiles.multiply_tile(index, pointer(left), pointer(right), pointer(out))
        np.testing.assert_array_equal(out, left @ right.T, err_msg=str(vars(tile)))


def served_together(places, element_bytes, lanes):
    """The 16-byte chunks that the lanes of a load reach at once, of every load of a register."""
    if element_bytes == 2:
        places = np.stack([places & 0xFFFF, places >> 16], axis=-1)
    chunks = places * element_bytes // 16
    of_loads = chunks.reshape(-1, lanes, *chunks.shape[1:3], chunks[0, 0, 0].size)
    return [
        set(load.ravel()) for loads in of_loads for load in loads.reshape(lanes, -1, loads.shape[-1]).swapaxes(0, 1)
    ]


@pytest.mark.parametrize("side", [0, 1])
def test_loads_touch_every_bank_once(tiles, side):
    # 32 banks of 4 bytes serve eight chunks of 16 bytes at once: the eight rows of a matrix load, those of eight lanes,
    # or those of 16 and 32 lanes that load a half and a quarter of a chunk.
    for index, tile in every(tiles):
        registers = 2 if side == 1 or tile.bytes == 8 else 4
        lanes = 8 if tile.bytes == 8 else 16 if tile.bytes == 4 and tile.outer[side] and side == 0 else 32
        for step in range(tile.steps):
            places = np.zeros((tile.threads, tile.fragments[side], registers), dtype=np.int64)
            tiles.load_places(index, int(side == 0), step, pointer(places))
            for chunks in served_together(places, tile.bytes, lanes):
                assert len(chunks) == len({chunk % 8 for chunk in chunks}) == 8, (vars(tile), step)
