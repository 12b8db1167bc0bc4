"""Packing, unpacking and transposition of bits by the CUDA kernels."""

import pytest
import torch
from cases.devices import made_up

from gatentk import reference

DEVICE = made_up(90, 132)
SHAPES = [(1, 1), (3, 5), (2, 32), (5, 33), (70, 64), (33, 127), (4, 128), (9, 300), (260, 17), (2, 1100), (257, 513)]


def random_mask(rows, width, density=0.5):
    return torch.rand(rows, width, generator=torch.Generator().manual_seed(rows * width)) < density


def row_bytes(width):
    return (width + 127) // 128 * 16


def pack(emulated, mask, width=None):
    width = mask.shape[1] if width is None else width
    bits = torch.full((mask.shape[0], row_bytes(width)), 255, dtype=torch.uint8)
    emulated.pack_bits(mask.data_ptr(), mask.stride(0), len(mask), width, bits.data_ptr(), bits.shape[1], DEVICE)
    return bits


@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_packing_equals_reference_and_comes_back(emulated, lane_order, rows, width):
    mask = random_mask(rows, width)
    bits = pack(emulated, mask)
    assert torch.equal(bits, reference.pack_bits(mask))
    back = torch.full((rows, width), 7, dtype=torch.uint8)
    emulated.unpack_bits(bits.data_ptr(), bits.stride(0), rows, width, back.data_ptr(), DEVICE)
    assert torch.equal(back, mask.to(torch.uint8))


def test_any_byte_but_zero_is_on(emulated):
    mask = torch.arange(256, dtype=torch.uint8).view(1, 256)
    assert torch.equal(pack(emulated, mask), reference.pack_bits(mask != 0))


def test_strided_masks_and_bits(emulated):
    mask = random_mask(7, 90)
    part = mask[::2, 3:50]
    bits = pack(emulated, part)
    assert torch.equal(bits, reference.pack_bits(part))
    wide = torch.full((4, 64), 255, dtype=torch.uint8)
    wide[:, 16:32] = bits
    back = torch.empty(4, 47, dtype=torch.uint8)
    emulated.unpack_bits(wide.data_ptr() + 16, 64, 4, 47, back.data_ptr(), DEVICE)
    assert torch.equal(back, part.to(torch.uint8))


@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_transposition_swaps_rows_and_columns(emulated, lane_order, rows, width):
    mask = random_mask(rows, width)
    bits = reference.pack_bits(mask)
    out = torch.full((width, row_bytes(rows)), 255, dtype=torch.uint8)
    emulated.transpose_bits(bits.data_ptr(), bits.stride(0), rows, width, out.data_ptr(), out.shape[1], DEVICE)
    assert torch.equal(out, reference.pack_bits(mask.T.contiguous()))


@pytest.mark.parametrize(("rows", "width"), [(0, 5), (5, 0), (0, 0)])
def test_empty_matrices(emulated, rows, width):
    mask = torch.zeros(rows, width, dtype=torch.bool)
    assert torch.equal(pack(emulated, mask), reference.pack_bits(mask))
    emulated.unpack_bits(0, 0, rows, width, 0, DEVICE)
    out = torch.full((width, 16), 255, dtype=torch.uint8)
    emulated.transpose_bits(0, 16, rows, width, out.data_ptr(), 16, DEVICE)
    assert not out.any()


def test_misaligned_bits_are_refused(emulated):
    with pytest.raises(ValueError, match="multiples of 4 bytes"):
        emulated.unpack_bits(2, 16, 1, 5, 0, DEVICE)
    with pytest.raises(ValueError, match="multiples of 4 bytes"):
        emulated.transpose_bits(0, 16, 1, 5, 0, 18, DEVICE)


def test_configurations_are_listed(emulated):
    assert [entry["name"] for entry in emulated.pack_bits_configurations()] == ["pack and unpack", "transpose"]
