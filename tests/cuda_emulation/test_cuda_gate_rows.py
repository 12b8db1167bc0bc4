"""Values of rows where their gates are on, by the CUDA kernels."""

import pytest
import torch
from cases.devices import made_up
from cases.stored import packed

DEVICE = made_up(90, 132)
SUFFIXES = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}
# The last two take more than one block of threads, whose accesses cross rows.
SHAPES = [(1, 1), (3, 5), (2, 32), (5, 33), (4, 128), (9, 300), (1500, 3), (70, 264), (3, 9216)]


def problem(dtype, rows, width, block, stride=None, offset=0):
    """Values with that stride between rows and NaNs where they are off, their bits, and what is expected."""
    generator = torch.Generator().manual_seed(rows * width + block)
    mask = torch.rand(rows, -(-width // block), generator=generator) < 0.5
    on = mask.repeat_interleave(block, 1)[:, :width]
    stride = width if stride is None else stride
    memory = torch.full((rows * stride + offset,), torch.nan, dtype=dtype)
    values = memory[offset:].view(rows, stride)[:, :width]
    values.copy_(torch.where(on, torch.randn(rows, width, generator=generator, dtype=torch.float64), torch.nan))
    return values, packed(mask), torch.where(on, values, 0)


def gate_rows(emulated, values, bits, block, out):
    run = getattr(emulated, f"gate_rows_{SUFFIXES[values.dtype]}")
    run(
        *(values.data_ptr(), values.stride(0), *values.shape, block, (bits.data_ptr(), bits.stride(0))),
        *(out.data_ptr(), out.stride(0), DEVICE),
    )
    return out


@pytest.mark.parametrize("dtype", SUFFIXES)
@pytest.mark.parametrize("block", [1, 2, 3, 7, 8, 32, 48, 10000])
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_values_stay_where_their_gate_is_on(emulated, dtype, block, rows, width):
    values, bits, expected = problem(dtype, rows, width, block)
    out = gate_rows(emulated, values, bits, block, torch.full_like(expected, 7))
    assert torch.equal(out, expected)
    assert gate_rows(emulated, values, bits, block, values) is values
    assert torch.equal(values, expected)


def test_order_of_lanes_and_blocks_does_not_matter(emulated, lane_order):
    values, bits, expected = problem(torch.float32, 70, 264, 3)
    assert torch.equal(gate_rows(emulated, values, bits, 3, values), expected)


@pytest.mark.parametrize("dtype", SUFFIXES)
@pytest.mark.parametrize(
    ("width", "stride", "offset"), [(64, 80, 0), (64, 71, 0), (64, 80, 1), (61, 80, 0), (61, 67, 3)]
)
def test_rows_that_start_anywhere(emulated, dtype, width, stride, offset):
    """What lies between rows is neither read nor written."""
    values, bits, expected = problem(dtype, 9, width, 4, stride, offset)
    memory = torch.full((9 * stride + offset,), 7, dtype=dtype)
    out = gate_rows(emulated, values, bits, 4, memory[offset:].view(9, stride)[:, :width])
    assert torch.equal(out, expected)
    assert (memory == 7).sum() >= memory.numel() - out.numel()
    assert torch.equal(memory[offset:].view(9, stride)[:, width:], torch.full((9, stride - width), 7, dtype=dtype))


@pytest.mark.parametrize("dtype", SUFFIXES)
@pytest.mark.parametrize("width", [64, 61])
def test_one_row_of_values_for_all(emulated, dtype, width):
    _, bits, expected = problem(dtype, 9, width, 4)
    bias = torch.arange(width).to(dtype)
    out = gate_rows(emulated, bias.expand(9, width), bits, 4, torch.full_like(expected, 7))
    on = torch.where(expected != 0, 1, 0)
    assert torch.equal(out, bias * on)


def test_rows_of_bits_may_be_far_apart(emulated):
    values, bits, expected = problem(torch.float32, 9, 200, 1)
    wide = torch.full((9, 64), 255, dtype=torch.uint8)
    wide[:, 16:48] = bits
    assert torch.equal(gate_rows(emulated, values, wide[:, 16:48], 1, values), expected)


@pytest.mark.parametrize(("rows", "width"), [(0, 5), (5, 0), (0, 0)])
def test_empty_matrices(emulated, rows, width):
    emulated.gate_rows_f32(0, width, rows, width, 1, (0, 16), 0, width, DEVICE)


def test_misaligned_gates_are_refused(emulated):
    for gates in ((2, 16), (0, 18)):
        with pytest.raises(ValueError, match=r"^gate_rows: expected rows of gates at multiples of 4 bytes$"):
            emulated.gate_rows_f32(0, 5, 1, 5, 1, gates, 0, 5, DEVICE)


def test_configurations_are_listed(emulated):
    assert [entry["name"] for entry in emulated.gate_rows_configurations()] == ["chunks", "elements"]
