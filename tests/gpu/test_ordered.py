"""Products in a fixed order on a CUDA device: bit for bit those of the CPU."""

import pytest
import torch
from cases.tensors import DTYPES, factor, same_bits, scatter

from gatentk import ops


@DTYPES
@pytest.mark.parametrize("shape", [(0, 4, 3), (3, 0, 5), (1, 1, 1), (40, 205, 33), (131, 40, 70)])
@pytest.mark.parametrize("relu", [False, True])
def test_ordered_products_have_the_bits_of_the_cpu(device, dtype, shape, relu, cpu, generator):
    n, inner, columns = shape
    x, weight = factor(generator, (n, inner), dtype, 0.9), factor(generator, (columns, inner), dtype, 0.9)
    found = ops.ordered_linear(x.to(device), weight.to(device), relu)
    with cpu():
        expected = ops.ordered_linear(x, weight, relu)
    assert same_bits(found.cpu(), expected)
    if n > 1:
        assert same_bits(ops.ordered_linear(x[1:].to(device), weight.to(device), relu), found[1:])


@pytest.mark.parametrize("layout", ["transposed", "strided", "offset"])
def test_ordered_products_in_any_layout(device, layout, cpu, generator):
    x, weight = (factor(generator, (n, 30), torch.float32, 1) for n in (9, 20))
    found = ops.ordered_linear(scatter(x.to(device), layout), scatter(weight.to(device), layout))
    with cpu():
        expected = ops.ordered_linear(x, weight)
    assert same_bits(found.cpu(), expected)


def test_opcheck(device, generator):
    x, weight = (factor(generator, (n, 20), torch.float64, 1).to(device) for n in (6, 12))
    torch.library.opcheck(torch.ops.gatentk.ordered_linear.default, (x, weight, True))
