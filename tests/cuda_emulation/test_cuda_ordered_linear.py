"""Products in a fixed order by the CUDA kernels: bit for bit those of the CPU."""

import pytest
import torch
from cases.stored import DEVICE, SUFFIXES, Matrix, filled

from gatentk import ops

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}


def ordered_linear(emulated, x, weight, relu=False, padding=0):
    out = filled(len(x.values), len(weight.values), x.values.dtype, padding)
    getattr(emulated, f"ordered_linear_{SUFFIXES[out.dtype]}")(
        x.view, weight.view, relu, out.data_ptr(), out.stride(0), DEVICE
    )
    assert padding == 0 or out._base[:, out.shape[1] :].isnan().all()
    return out


def same_bits(a, b):
    return torch.equal(a.contiguous().view(INTEGERS[a.dtype]), b.contiguous().view(INTEGERS[b.dtype]))


@DTYPES
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("rows", "width", "columns"), [(1, 1, 1), (5, 300, 70), (65, 31, 66), (64, 64, 64), (7, 0, 9), (0, 4, 3), (3, 4, 0)]
)
def test_the_same_bits_as_on_the_cpu(emulated, dtype, relu, rows, width, columns):
    g = torch.Generator().manual_seed(width)
    x, weight = (Matrix(g, n, width, dtype, in_chunks=True) for n in (rows, columns))
    assert same_bits(ordered_linear(emulated, x, weight, relu), ops.ordered_linear(x.values, weight.values, relu))


@DTYPES
@pytest.mark.parametrize(("padding", "offset"), [(0, 4), (4, 0), (8, 8)])
def test_strides_and_offsets_of_whole_chunks(emulated, dtype, padding, offset):
    g = torch.Generator().manual_seed(0)
    x, weight = (Matrix(g, rows, 72, dtype, padding=padding, offset=offset) for rows in (20, 30))
    result = ordered_linear(emulated, x, weight, padding=padding)
    assert same_bits(result, ops.ordered_linear(x.values, weight.values))


@DTYPES
def test_what_lies_behind_a_row_does_not_matter(emulated, dtype):
    x, weight = (Matrix(torch.Generator(), rows, 37, dtype, padding=3) for rows in (20, 30))  # NaNs
    assert same_bits(ordered_linear(emulated, x, weight), ops.ordered_linear(x.values, weight.values))


@pytest.mark.parametrize("options", [{"offset": 1}, {"padding": 1}])
def test_rows_that_start_elsewhere_are_refused(emulated, options):
    x = Matrix(torch.Generator(), 9, 8, torch.float64, **options)
    with pytest.raises(ValueError, match=r"^factors: expected rows that start at multiples of 16 bytes$"):
        ordered_linear(emulated, x, x)


@DTYPES
def test_any_order_of_lanes_gives_the_same(emulated, lane_order, dtype):
    g = torch.Generator().manual_seed(0)
    x, weight = (Matrix(g, rows, 100, dtype) for rows in (70, 40))
    assert same_bits(ordered_linear(emulated, x, weight), ops.ordered_linear(x.values, weight.values))


@DTYPES
def test_results_too_small_for_the_dtype_keep_their_sign(emulated, dtype):
    tiny = torch.finfo(dtype).tiny
    x, weight = (Matrix(torch.Generator(), 1, 3, dtype, in_chunks=True) for _ in range(2))
    x.stored.copy_(torch.tensor([[tiny, 0, 0]]))
    weight.stored.copy_(torch.tensor([[-tiny, 0, 0]]))
    result = ordered_linear(emulated, x, weight)
    assert same_bits(result, ops.ordered_linear(x.stored, weight.stored))


@DTYPES
def test_no_finite_row_is_changed_by_another(emulated, dtype):
    g = torch.Generator().manual_seed(0)
    x, weight = (Matrix(g, rows, 40, dtype) for rows in (20, 30))
    before = ordered_linear(emulated, x, weight)
    x.stored[3] = torch.nan
    after = ordered_linear(emulated, x, weight)
    assert after[3].isnan().all()
    assert same_bits(before[:3], after[:3])
    assert same_bits(before[4:], after[4:])
